import { generate, type Packet, parser } from 'mqtt-packet'
import { messageOf } from '../core/errors.ts'
import type { Framer } from './framer.ts'
import { MalformedPacket } from './malformed.ts'
import type { MqttVersion } from './packet-type.ts'

/** Writes a control packet. */
export function writeControl(packet: Packet, version: MqttVersion): Buffer {
  return generate(packet, { protocolVersion: version })
}

/** Reads the control packet that the framer has found, with mqtt-packet. Throws MalformedPacket. */
export function readControl({ type, flags, buffer, start, end }: Framer, version: MqttVersion): Packet {
  const body = buffer.subarray(start, end)
  const reader = parser({ protocolVersion: version })
  let found: Packet | undefined
  let fault: unknown
  reader.on('packet', (packet) => (found = packet))
  reader.on('error', (error) => (fault ??= error))
  try {
    reader.parse(Buffer.concat([header((type << 4) | flags, body.length), body]))
  } catch (error) {
    // mqtt-packet reads behind the end of some packets.
    fault ??= error
  }
  if (fault !== undefined || found === undefined) throw new MalformedPacket(messageOf(fault ?? 'an unreadable packet'))
  return found
}

function header(first: number, length: number): Buffer {
  const bytes = [first]
  let left = length
  do {
    bytes.push((left % 128) | (left >= 128 ? 0x80 : 0))
    left = Math.floor(left / 128)
  } while (left > 0)
  return Buffer.from(bytes)
}
