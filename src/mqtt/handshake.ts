import type { Socket } from 'node:net'
import type { IConnackPacket } from 'mqtt-packet'
import { messageOf, SluiceError } from '../core/errors.ts'
import { readControl, writeControl } from './control.ts'
import { Framer } from './framer.ts'
import { MalformedPacket } from './malformed.ts'
import { type MqttVersion, packetType } from './packet-type.ts'
import { refusalOf } from './refusal.ts'

/** What CONNECT says. */
export interface ConnectFields {
  readonly clientId: string
  readonly username?: string
  readonly password?: string
  /** Clean start (MQTT 5) or clean session (3.1.1). */
  readonly clean: boolean
  /** How long the broker keeps the session after the connection; 3.1.1 keeps one that isn't clean for as long as it likes. */
  readonly sessionExpirySeconds: number
  /** QoS 1 messages the broker may send before we acknowledge; MQTT 5 only. */
  readonly receiveMaximum?: number
  readonly keepaliveMs: number
}

/** The broker closed instead of answering CONNECT; some do so when they don't know the version. */
export class ClosedUnansweredError extends SluiceError {
  constructor() {
    super('BROKER_AWAY', 'the broker closed the connection instead of answering CONNECT')
  }
}

/** A CONNACK is small; what is longer is not one. */
const connackBytes = 65_535

/**
 * Sends CONNECT and waits for CONNACK; the socket is left paused, with what came behind it put back. Throws
 * BrokerRefusedError, ClosedUnansweredError, or SluiceError BROKER_AWAY. The caller destroys the socket.
 */
export async function shakeHands(
  socket: Socket,
  fields: ConnectFields,
  version: MqttVersion,
  signal: AbortSignal,
): Promise<IConnackPacket> {
  const connack = await readConnack(socket, connectPacket(fields, version), version, signal)
  const code = (version === 5 ? connack.reasonCode : connack.returnCode) ?? 0
  if (code !== 0) throw refusalOf(code, version, connack.properties?.reasonString)
  return connack
}

function connectPacket(fields: ConnectFields, version: MqttVersion): Buffer {
  const { receiveMaximum, sessionExpirySeconds: expiry } = fields
  const properties = {
    ...(expiry > 0 && { sessionExpiryInterval: Math.min(expiry, 0xffffffff) }),
    ...(receiveMaximum !== undefined && { receiveMaximum }),
  }
  return writeControl(
    {
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: version,
      clientId: fields.clientId,
      clean: fields.clean,
      keepalive: Math.ceil(fields.keepaliveMs / 1000),
      ...(fields.username !== undefined && { username: fields.username }),
      ...(fields.password !== undefined && { password: Buffer.from(fields.password) }),
      ...(version === 5 && { properties }),
    },
    version,
  )
}

function readConnack(
  socket: Socket,
  connect: Buffer,
  version: MqttVersion,
  signal: AbortSignal,
): Promise<IConnackPacket> {
  return new Promise((resolve, reject) => {
    const framer = new Framer(connackBytes)
    const chunks: Buffer[] = []
    const settle = (): void => {
      socket.pause()
      socket.off('data', onData).off('error', onError).off('end', onEnd).off('close', onEnd)
      signal.removeEventListener('abort', onAbort)
    }
    const fail = (error: Error): void => {
      settle()
      reject(error)
    }
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk)
      try {
        framer.feed(chunk)
        if (!framer.next()) return
        if (framer.type !== packetType.connack) throw new MalformedPacket('something else than CONNACK came first')
        const packet = readControl(framer, version)
        if (packet.cmd !== 'connack') throw new MalformedPacket('something else than CONNACK came first')
        const bytes = Buffer.concat(chunks)
        settle()
        const rest = bytes.subarray(packetBytes(bytes))
        if (rest.length > 0) socket.unshift(rest)
        resolve(packet)
      } catch (error) {
        const text = `what answers there doesn't speak MQTT: ${messageOf(error)}`
        fail(new SluiceError('BROKER_AWAY', text, { cause: error }))
      }
    }
    const onError = (error: Error): void => fail(new SluiceError('BROKER_AWAY', error.message, { cause: error }))
    const onEnd = (): void => fail(new ClosedUnansweredError())
    const onAbort = (): void => fail(new SluiceError('BROKER_AWAY', messageOf(signal.reason)))
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    socket.on('data', onData).on('error', onError).on('end', onEnd).on('close', onEnd)
    socket.write(connect)
    socket.resume()
  })
}

/** The length of the first packet, header and all. */
function packetBytes(bytes: Buffer): number {
  let at = 1
  let length = 0
  for (let factor = 1; ; factor *= 128) {
    const byte = bytes.readUInt8(at++)
    length += (byte & 0x7f) * factor
    if (byte < 0x80) return at + length
  }
}
