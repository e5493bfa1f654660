import type { AuthenticateError, Client } from 'aedes'
import type { IPublishPacket } from 'mqtt-packet'
import type { Publish } from '../../core/access.ts'
import { connack } from './admission.ts'
import type { BrokerConnection } from './connection.ts'

/** aedes gives every client the stream that it was handed, and that was ours. */
export function connectionOf(client: Client): BrokerConnection {
  return client.conn as BrokerConnection
}

/** aedes sends the return code of the error in its CONNACK. */
export function connackError(code: number): AuthenticateError {
  // oxlint-disable-next-line typescript/no-unsafe-enum-assignment -- aedes declares an enum and exports none
  return Object.assign(new Error(`return code ${code}`), { returnCode: code })
}

/** Calls back with what was decided about a CONNECT. */
export async function answerConnect(
  code: Promise<number>,
  done: (error: AuthenticateError | null, success: boolean) => void,
): Promise<void> {
  const decided = await code
  if (decided === connack.accepted) done(null, true)
  else done(connackError(decided), false)
}

/** Calls back with whether a last will may go to its subscribers. */
export async function answerWill(durable: Promise<boolean>, done: (error?: Error | null) => void): Promise<void> {
  done((await durable) ? null : new Error('the last will was not accepted'))
}

/** A PUBLISH packet, or a will, as the doors know it. */
export function publishFrom(packet: Pick<IPublishPacket, 'topic' | 'payload' | 'qos' | 'retain'>): Publish {
  const { topic, payload, qos, retain } = packet
  return { topic, payload: typeof payload === 'string' ? Buffer.from(payload) : payload, qos, retain }
}
