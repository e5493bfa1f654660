import type { Socket } from 'node:net'
import type { IConnackPacket, ISubscription } from 'mqtt-packet'
import { SluiceError } from '../core/errors.ts'
import { readControl, writeControl } from './control.ts'
import { decodePublish } from './decode.ts'
import { encodeAcknowledgement, encodePublish } from './encode.ts'
import type { Framer } from './framer.ts'
import { type Closed, Link } from './link.ts'
import { MalformedPacket } from './malformed.ts'
import { type MqttVersion, packetType } from './packet-type.ts'
import type { OutgoingPublish, ReceivedPublish } from './publish.ts'
import { describeReason } from './refusal.ts'

export interface ConnectionHandlers {
  /** A PUBLISH; acknowledging it is the handler's affair, at any time. */
  publish?(message: ReceivedPublish): void
  /** A PUBACK for one of ours; `reason` is 0 on MQTT 3.1.1. */
  puback?(packetId: number, reason: number): void
}

/** What the broker said about itself in CONNACK (MQTT 5 §3.2.2.3); on 3.1.1 what that version implies. */
export interface BrokerLimits {
  /** QoS 1 publishes of ours that it takes at once. */
  readonly receiveMaximum: number
  /** Most bytes of a packet that it takes. */
  readonly maximumPacketSize: number
  readonly maximumQos: number
  readonly retain: boolean
  readonly sharedSubscriptions: boolean
  /** Milliseconds, where it wants another interval than ours. */
  readonly keepaliveMs?: number
}

/** How long a broker may take to close after our DISCONNECT, where nobody says otherwise. */
const farewellMs = 1_000

/**
 * A connection behind its CONNACK. It begins paused: `resume` lets packets in, acknowledgements of SUBSCRIBE and the
 * like among them. Requests in flight reject with SluiceError BROKER_AWAY when it ends.
 */
export class Connection {
  readonly version: MqttVersion
  readonly clientId: string
  readonly sessionPresent: boolean
  readonly limits: BrokerLimits
  readonly closed: Promise<Closed>
  readonly #link: Link
  readonly #handlers: ConnectionHandlers
  readonly #requests = new Map<
    number,
    { resolve: (granted: readonly number[]) => void; reject: (error: Error) => void }
  >()
  /** One place per PINGREQ under way, oldest first; PINGRESP has no id. */
  #pings: ((() => void) | undefined)[] = []
  #nextRequest = 1
  #end: Closed | undefined

  constructor(
    socket: Socket,
    options: {
      readonly version: MqttVersion
      readonly clientId: string
      readonly maximumPacketSize: number
      readonly keepaliveMs: number
      readonly connack: IConnackPacket
      readonly handlers: ConnectionHandlers
    },
  ) {
    const { version, connack } = options
    this.version = version
    this.clientId = options.clientId
    this.sessionPresent = connack.sessionPresent
    this.limits = limitsOf(connack)
    this.#handlers = options.handlers
    this.#link = new Link(socket, options.maximumPacketSize, {
      packet: (framer) => this.#packet(framer),
      disconnect: (reasonCode) => this.#disconnectPacket(reasonCode),
      ping: () => this.#ping(undefined),
    })
    this.closed = this.#link.closed.then((link) => this.#ended(link))
    this.#link.startKeepalive(this.limits.keepaliveMs ?? options.keepaliveMs)
  }

  get paused(): boolean {
    return this.#link.paused
  }

  pause(): void {
    this.#link.pause()
  }

  resume(): void {
    this.#link.resume()
  }

  /** PUBACK for QoS 1, PUBREC for QoS 2; nothing for QoS 0. A `reason` of 0x80 or more refuses, where the version can say so. */
  acknowledge(packetId: number, qos: number, reason = 0): void {
    if (qos > 0) this.#link.write(encodeAcknowledgement(qos === 1 ? 4 : 5, packetId, reason, this.version))
  }

  /** Sends a PUBLISH; `packetId` is the caller's for QoS 1. */
  publish(message: OutgoingPublish, packetId: number): void {
    this.#link.write(encodePublish(message, packetId, this.version))
  }

  /** Resolves with the reason code or granted QoS per filter: 0x80 and above is a refusal. */
  subscribe(subscriptions: readonly ISubscription[]): Promise<readonly number[]> {
    return this.#request((messageId) =>
      writeControl({ cmd: 'subscribe', messageId, subscriptions: [...subscriptions] }, this.version),
    )
  }

  async unsubscribe(filters: readonly string[]): Promise<void> {
    await this.#request((messageId) =>
      writeControl({ cmd: 'unsubscribe', messageId, unsubscriptions: [...filters] }, this.version),
    )
  }

  /** Resolves when the broker answers a PINGREQ, which it does behind everything that it had to send before. */
  ping(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined || this.#link.ended) return reject(lost(this.#end?.reason))
      this.#ping(resolve)
      void this.closed.then(({ reason }) => reject(lost(reason)))
    })
  }

  /** Resolves when the operating system has taken everything that was sent. Rejects when the connection ends before. */
  flushed(): Promise<void> {
    return this.#link.flushed()
  }

  /**
   * Ends the connection in order: the last will is not sent. `sessionExpirySeconds: 0` ends the session too (MQTT 5 only). The broker
   * gets `withinMs` (1 s by default) to close: DISCONNECT stands behind whatever was sent before, and a broker under load takes
   * its time over a thousand PUBACKs (Mosquitto: one packet a turn). Closing on it earlier is a reset, which takes those along
   * that it has not read. Says whether the broker has closed in time.
   */
  async disconnect(
    options: { readonly sessionExpirySeconds?: number; readonly withinMs?: number } = {},
  ): Promise<boolean> {
    this.#link.end(this.#disconnectPacket(0, options.sessionExpirySeconds))
    let inTime = true
    const timer = setTimeout(() => {
      inTime = false
      this.destroy('the broker did not close')
    }, options.withinMs ?? farewellMs)
    await this.closed
    clearTimeout(timer)
    return inTime
  }

  /** Ends the connection at once. */
  destroy(reason = 'we closed the connection'): void {
    this.#link.destroy({ by: 'us', reason })
  }

  #packet(framer: Framer): void {
    switch (framer.type) {
      case packetType.publish:
        return this.#publish(framer)
      case packetType.puback:
        return this.#puback(framer)
      case packetType.pubrel:
        return this.#link.write(encodeAcknowledgement(7, idOf(framer), 0, this.version))
      case packetType.pingresp:
        return this.#pings.shift()?.()
      case packetType.suback:
      case packetType.unsuback:
        return this.#answered(framer)
      case packetType.disconnect:
        return this.#disconnected(framer)
      default:
        throw new MalformedPacket(`a packet of type ${framer.type}, which a broker may not send here`, 0x82)
    }
  }

  #publish(framer: Framer): void {
    const message = decodePublish(framer, this.version)
    this.#handlers.publish?.(message)
  }

  #puback(framer: Framer): void {
    const id = idOf(framer)
    const reason = this.version === 5 && framer.end - framer.start > 2 ? framer.buffer.readUInt8(framer.start + 2) : 0
    this.#handlers.puback?.(id, reason)
  }

  #answered(framer: Framer): void {
    const packet = readControl(framer, this.version)
    if (packet.cmd !== 'suback' && packet.cmd !== 'unsuback') return
    const id = packet.messageId ?? 0
    const granted: readonly unknown[] = packet.granted ?? []
    this.#requests.get(id)?.resolve(granted.filter((code) => typeof code === 'number'))
    this.#requests.delete(id)
  }

  #disconnected(framer: Framer): void {
    if (this.version !== 5) throw new MalformedPacket('a DISCONNECT, which only MQTT 5 lets a broker send', 0x82)
    const code = framer.end > framer.start ? framer.buffer.readUInt8(framer.start) : 0
    this.#link.destroy({ by: 'broker', code, reason: `the broker disconnected us: ${describeReason(code)}` })
  }

  #ping(done: (() => void) | undefined): void {
    this.#pings.push(done)
    this.#link.write(pingreq)
  }

  #request(packetOf: (id: number) => Buffer): Promise<readonly number[]> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined || this.#link.ended) return reject(lost(this.#end?.reason))
      const id = this.#nextRequest
      this.#nextRequest = (id % 65_535) + 1
      this.#requests.set(id, { resolve, reject })
      this.#link.write(packetOf(id))
    })
  }

  #disconnectPacket(reasonCode: number, sessionExpirySeconds?: number): Buffer {
    if (this.version !== 5) return writeControl({ cmd: 'disconnect' }, 4)
    const properties =
      sessionExpirySeconds === undefined ? {} : { properties: { sessionExpiryInterval: sessionExpirySeconds } }
    return writeControl({ cmd: 'disconnect', reasonCode, ...properties }, 5)
  }

  #ended(closed: Closed): Closed {
    this.#end = closed
    for (const { reject } of this.#requests.values()) reject(lost(closed.reason))
    this.#requests.clear()
    this.#pings = []
    return closed
  }
}

const pingreq = Buffer.from([0xc0, 0])

function idOf({ buffer, start, end }: Framer): number {
  if (end - start < 2) throw new MalformedPacket('an acknowledgement without a packet id')
  return buffer.readUInt16BE(start)
}

function lost(reason = 'the connection was lost'): SluiceError {
  return new SluiceError('BROKER_AWAY', reason)
}

function limitsOf({ properties = {} }: IConnackPacket): BrokerLimits {
  const { serverKeepAlive } = properties
  return {
    receiveMaximum: properties.receiveMaximum ?? 65_535,
    maximumPacketSize: properties.maximumPacketSize ?? Infinity,
    maximumQos: properties.maximumQoS ?? 2,
    retain: properties.retainAvailable ?? true,
    sharedSubscriptions: properties.sharedSubscriptionAvailable ?? true,
    ...(serverKeepAlive !== undefined && { keepaliveMs: serverKeepAlive * 1000 }),
  }
}
