import { isUtf8 } from 'node:buffer'
import type { Properties, Qos } from '../core/message.ts'
import { MalformedPacket } from './malformed.ts'
import type { MqttVersion } from './packet-type.ts'
import { property } from './property.ts'
import type { ReceivedPublish } from './publish.ts'

const noPayload = Buffer.alloc(0)

/** A PUBLISH packet's body in a larger buffer, as the framer has found it. */
export interface PublishFrame {
  readonly flags: number
  readonly buffer: Buffer
  readonly start: number
  readonly end: number
  readonly oversize: number
}

/**
 * Reads a PUBLISH (MQTT 5 §3.3, MQTT 3.1.1 §3.3). Throws MalformedPacket.
 *
 * It is read here and not by mqtt-packet because that keeps user properties in an object: their order is lost, and of a name
 * that comes twice only the second is left when the first value is empty. Who speaks may hang on such a name.
 */
export function decodePublish(frame: PublishFrame, version: MqttVersion): ReceivedPublish {
  const { buffer, start, end, flags } = frame
  const reader = new Reader(buffer, start, end)
  const qos = (flags >> 1) & 3
  if (qos === 3) throw new MalformedPacket('a PUBLISH with both QoS bits set') // [MQTT-3.3.1-4]
  const topic = reader.text()
  const packetId = qos === 0 ? 0 : reader.uint16()
  if (qos > 0 && packetId === 0) throw new MalformedPacket('a PUBLISH with packet id 0') // [MQTT-2.2.1-3]
  const known = { topic, qos: qos as Qos, retain: (flags & 1) === 1, packetId }
  if (frame.oversize > 0) return { ...known, payload: noPayload, oversize: frame.oversize }
  const properties = version === 5 ? readProperties(reader) : undefined
  const payload = reader.rest()
  return properties === undefined ? { ...known, payload } : { ...known, payload, properties }
}

/** MQTT 5 §3.3.2.3. Undefined where there is none that travels with a message. */
function readProperties(reader: Reader): Properties | undefined {
  const length = reader.varint()
  if (length === 0) return undefined
  const inner = reader.part(length)
  const found: { -readonly [Key in keyof Properties]: Properties[Key] } = {}
  const userProperties: [string, string][] = []
  const once = <Key extends keyof Properties>(key: Key, value: Properties[Key]): void => {
    if (found[key] !== undefined) throw new MalformedPacket(`a PUBLISH with ${key} twice`, 0x82)
    found[key] = value
  }
  while (inner.left > 0) {
    const id = inner.varint()
    if (id === property.userProperty) userProperties.push([inner.text(), inner.text()])
    else if (id === property.payloadFormatIndicator) once('payloadFormatIndicator', inner.uint8() === 1)
    else if (id === property.messageExpiryInterval) once('messageExpiryInterval', inner.uint32())
    else if (id === property.contentType) once('contentType', inner.text())
    else if (id === property.responseTopic) once('responseTopic', inner.text())
    else if (id === property.correlationData) once('correlationData', inner.bytes().toString('base64'))
    else if (id === property.subscriptionIdentifier) inner.varint()
    // A topic alias among them: we have announced no maximum, so the broker may not use any [MQTT-3.3.2-9].
    else throw new MalformedPacket(`a PUBLISH with property 0x${id.toString(16)}`, 0x82)
  }
  if (userProperties.length > 0) found.userProperties = userProperties
  return Object.keys(found).length > 0 ? found : undefined
}

class Reader {
  readonly #buffer: Buffer
  readonly #end: number
  #at: number

  constructor(buffer: Buffer, start: number, end: number) {
    this.#buffer = buffer
    this.#at = start
    this.#end = end
  }

  get left(): number {
    return this.#end - this.#at
  }

  #take(count: number): number {
    if (this.#end - this.#at < count) throw new MalformedPacket('a packet that ends too early')
    const at = this.#at
    this.#at += count
    return at
  }

  uint8(): number {
    return this.#buffer.readUInt8(this.#take(1))
  }

  uint16(): number {
    return this.#buffer.readUInt16BE(this.#take(2))
  }

  uint32(): number {
    return this.#buffer.readUInt32BE(this.#take(4))
  }

  /** MQTT 5 §1.5.5. */
  varint(): number {
    let value = 0
    for (let index = 0; index < 4; index += 1) {
      const byte = this.uint8()
      value += (byte & 0x7f) * 128 ** index
      if (byte < 0x80) return value
    }
    throw new MalformedPacket('a variable byte integer of more than four bytes')
  }

  bytes(): Buffer {
    const length = this.uint16()
    const at = this.#take(length)
    return this.#buffer.subarray(at, at + length)
  }

  /** UTF-8 without U+0000 [MQTT-1.5.4-1] [MQTT-1.5.4-2]: anything else would reach rules as another text than was sent. */
  text(): string {
    const length = this.uint16()
    const start = this.#take(length)
    const end = start + length
    for (let at = start; at < end; at += 1) {
      const byte = this.#buffer[at] as number // within the packet
      if (byte === 0) throw new MalformedPacket('a text with U+0000')
      if (byte >= 0x80 && !isUtf8(this.#buffer.subarray(start, end)))
        throw new MalformedPacket('a text that is not UTF-8')
      if (byte >= 0x80) return this.#withoutNul(start, end)
    }
    return this.#buffer.toString('latin1', start, end)
  }

  #withoutNul(start: number, end: number): string {
    if (this.#buffer.subarray(start, end).includes(0)) throw new MalformedPacket('a text with U+0000')
    return this.#buffer.toString('utf8', start, end)
  }

  part(length: number): Reader {
    const at = this.#take(length)
    return new Reader(this.#buffer, at, at + length)
  }

  rest(): Buffer {
    return this.#buffer.subarray(this.#take(this.left), this.#end)
  }
}
