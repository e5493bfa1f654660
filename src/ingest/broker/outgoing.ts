import type { Qos } from '../../core/message.ts'

/** What a message costs us in memory beside its topic and payload, roughly. */
const overhead = 200
/** A payload up to this size is copied behind its header; a larger one is shared by all that it goes to. */
const copied = 1_024

/** A message on its way to those who have subscribed; all sessions that it goes to share it. */
export class Outgoing {
  readonly topic: string
  /** Whether the client is told that it was retained [MQTT-3.3.1-8] [MQTT-3.3.1-9]. */
  readonly retain: boolean
  #payload: Buffer
  #isOwn = false
  #topicBytes: Buffer | undefined

  constructor(topic: string, payload: Buffer, retain: boolean) {
    this.topic = topic
    this.retain = retain
    this.#payload = payload
  }

  /** Bytes that it takes while it is kept. */
  get size(): number {
    return overhead + this.topic.length + this.#payload.length
  }

  /** To be called by who keeps it: the payload is a view on everything that came with it on the socket, and becomes a copy. */
  own(): this {
    if (!this.#isOwn) this.#payload = Buffer.from(this.#payload)
    this.#isOwn = true
    return this
  }

  /** Its PUBLISH packet, in one piece or two. */
  packet(qos: Qos, messageId: number, dup: boolean): readonly Buffer[] {
    const topic = (this.#topicBytes ??= Buffer.from(this.topic))
    const payload = this.#payload
    const length = 2 + topic.length + (qos > 0 ? 2 : 0) + payload.length
    const head = [0x30 | (dup ? 8 : 0) | (qos << 1) | (this.retain ? 1 : 0), ...remainingLength(length)]
    const isCopied = payload.length <= copied
    const bytes = Buffer.allocUnsafe(head.length + length - (isCopied ? 0 : payload.length))
    bytes.set(head)
    let at = bytes.writeUInt16BE(topic.length, head.length)
    at += topic.copy(bytes, at)
    if (qos > 0) at = bytes.writeUInt16BE(messageId, at)
    if (!isCopied) return [bytes, payload]
    payload.copy(bytes, at)
    return [bytes]
  }
}

/** Packets of four bytes: PUBACK, PUBREC, PUBREL with its flag [MQTT-3.6.1-1], PUBCOMP, UNSUBACK. */
export type ShortPacket = 0x40 | 0x50 | 0x62 | 0x70 | 0xb0

export function shortPacket(kind: ShortPacket, messageId: number): Buffer {
  return Buffer.from([kind, 2, messageId >> 8, messageId & 0xff])
}

export function connackPacket(returnCode: number, sessionPresent: boolean): Buffer {
  return Buffer.from([0x20, 2, sessionPresent ? 1 : 0, returnCode])
}

/** `codes`: one for each filter of the SUBSCRIBE, in its order [MQTT-3.8.4-5]. */
export function subackPacket(messageId: number, codes: readonly number[]): Buffer {
  return Buffer.from([0x90, ...remainingLength(codes.length + 2), messageId >> 8, messageId & 0xff, ...codes])
}

/** MQTT 3.1.1 §2.2.3. */
function remainingLength(length: number): number[] {
  const bytes: number[] = []
  let left = length
  do {
    const low = left % 128
    left = Math.floor(left / 128)
    bytes.push(left > 0 ? low | 0x80 : low)
  } while (left > 0)
  return bytes
}
