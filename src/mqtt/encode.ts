import type { Properties } from '../core/message.ts'
import type { MqttVersion } from './packet-type.ts'
import { property } from './property.ts'
import type { OutgoingPublish } from './publish.ts'

/**
 * Writes a PUBLISH (MQTT 5 §3.3, MQTT 3.1.1 §3.3) into one buffer; user properties keep their order [MQTT-3.3.2-18], which
 * mqtt-packet's object of them can't. Texts must be what MQTT can carry: at most 65,535 bytes, no U+0000.
 */
export function encodePublish(message: OutgoingPublish, packetId: number, version: MqttVersion): Buffer {
  const { topic, payload, qos, retain } = message
  const topicBytes = Buffer.byteLength(topic)
  const properties = version === 5 ? encodeProperties(message.properties) : nothing
  const length = 2 + topicBytes + (qos > 0 ? 2 : 0) + properties.length + payload.length
  const lengthBytes = varint(length)
  const packet = Buffer.allocUnsafe(1 + lengthBytes.length + length)
  let at = packet.writeUInt8(0x30 | (qos << 1) | (retain ? 1 : 0))
  at += lengthBytes.copy(packet, at)
  at = packet.writeUInt16BE(topicBytes, at)
  at += packet.write(topic, at)
  if (qos > 0) at = packet.writeUInt16BE(packetId, at)
  at += properties.copy(packet, at)
  payload.copy(packet, at)
  return packet
}

/** An acknowledgement: `type` 4 is PUBACK, 5 PUBREC, 7 PUBCOMP. A reason is written on MQTT 5 only, and only when it isn't success. */
export function encodeAcknowledgement(type: 4 | 5 | 7, packetId: number, reason: number, version: MqttVersion): Buffer {
  const withReason = version === 5 && reason !== 0
  const packet = Buffer.allocUnsafe(withReason ? 5 : 4)
  packet[0] = type << 4
  packet[1] = withReason ? 3 : 2
  packet[2] = packetId >> 8
  packet[3] = packetId & 0xff
  if (withReason) packet[4] = reason
  return packet
}

const nothing = Buffer.alloc(0)
const noProperties = Buffer.from([0])

function encodeProperties(properties: Properties | undefined): Buffer {
  if (properties === undefined) return noProperties
  const parts: Buffer[] = []
  const { payloadFormatIndicator, messageExpiryInterval, contentType, responseTopic, correlationData } = properties
  if (payloadFormatIndicator !== undefined) {
    parts.push(Buffer.from([property.payloadFormatIndicator, payloadFormatIndicator ? 1 : 0]))
  }
  if (messageExpiryInterval !== undefined) {
    const part = Buffer.alloc(5, property.messageExpiryInterval)
    part.writeUInt32BE(messageExpiryInterval, 1)
    parts.push(part)
  }
  if (contentType !== undefined) parts.push(text(property.contentType, contentType))
  if (responseTopic !== undefined) parts.push(text(property.responseTopic, responseTopic))
  if (correlationData !== undefined) {
    parts.push(sized(property.correlationData, Buffer.from(correlationData, 'base64')))
  }
  for (const [name, value] of properties.userProperties ?? []) {
    parts.push(text(property.userProperty, name), text(undefined, value))
  }
  const body = Buffer.concat(parts)
  return Buffer.concat([varint(body.length), body])
}

function text(id: number | undefined, value: string): Buffer {
  return sized(id, Buffer.from(value))
}

function sized(id: number | undefined, value: Buffer): Buffer {
  const head = Buffer.alloc(id === undefined ? 2 : 3, id ?? 0)
  head.writeUInt16BE(value.length, head.length - 2)
  return Buffer.concat([head, value])
}

/** MQTT 5 §1.5.5. */
function varint(value: number): Buffer {
  const bytes: number[] = []
  let left = value
  do {
    const more = left >= 128
    bytes.push((left % 128) | (more ? 0x80 : 0))
    left = Math.floor(left / 128)
  } while (left > 0)
  return Buffer.from(bytes)
}
