import { SluiceError } from '../core/errors.ts'
import type { MqttVersion } from './packet-type.ts'

/**
 * What a refused CONNECT means for the one who sent it.
 * - `version`: the broker doesn't speak this MQTT. - `credential`: someone must put user, password, certificate or the broker's ACL right.
 * - `settings`: another client id, address or the like is wanted. - `busy`: the same CONNECT may be taken later.
 */
export type RefusalKind = 'version' | 'credential' | 'settings' | 'busy'

/** The broker answered CONNECT with a refusal, or its certificate is not one we trust. */
export class BrokerRefusedError extends SluiceError {
  readonly kind: RefusalKind
  /** The reason code (MQTT 5) or return code (3.1.1) of the CONNACK; absent where it didn't come so far. */
  readonly reasonCode?: number
  constructor(message: string, kind: RefusalKind, reasonCode?: number, options?: ErrorOptions) {
    super('BROKER_REFUSED', message, options)
    this.kind = kind
    if (reasonCode !== undefined) this.reasonCode = reasonCode
  }
}

type Row = readonly [kind: RefusalKind, text: string]

/** MQTT 3.1.1 §3.2.2.3. */
const returnCodes: ReadonlyMap<number, Row> = new Map([
  [1, ['version', 'unacceptable protocol version']],
  [2, ['settings', 'client id not accepted']],
  [3, ['busy', 'server unavailable']],
  [4, ['credential', 'bad user name or password']],
  [5, ['credential', 'not authorized']],
])

/** MQTT 5 §3.2.2.2. */
const reasonCodes: ReadonlyMap<number, Row> = new Map([
  [0x80, ['busy', 'unspecified error']],
  [0x81, ['settings', 'malformed packet']],
  [0x82, ['settings', 'protocol error']],
  [0x83, ['busy', 'implementation specific error']],
  [0x84, ['version', 'unsupported protocol version']],
  [0x85, ['settings', 'client id not valid']],
  [0x86, ['credential', 'bad user name or password']],
  [0x87, ['credential', 'not authorized']],
  [0x88, ['busy', 'server unavailable']],
  [0x89, ['busy', 'server busy']],
  [0x8a, ['credential', 'banned']],
  [0x8c, ['credential', 'bad authentication method']],
  [0x90, ['settings', 'topic name invalid']],
  [0x95, ['settings', 'packet too large']],
  [0x97, ['busy', 'quota exceeded']],
  [0x99, ['settings', 'payload format invalid']],
  [0x9a, ['settings', 'retain not supported']],
  [0x9b, ['settings', 'QoS not supported']],
  [0x9c, ['settings', 'use another server']],
  [0x9d, ['settings', 'server moved']],
  [0x9f, ['busy', 'connection rate exceeded']],
])

/** The error for a CONNACK that refuses. A broker of 3.1.1 answers an MQTT 5 CONNECT with a return code of its own. */
export function refusalOf(code: number, version: MqttVersion, said?: string): BrokerRefusedError {
  const codes = version === 5 && code >= 0x80 ? reasonCodes : returnCodes
  const [kind, text] = codes.get(code) ?? (['settings', 'unknown reason'] as const)
  const detail = said === undefined || said === '' ? '' : ` (${plain(said)})`
  return new BrokerRefusedError(`the broker refused us: ${text}, code ${code}${detail}`, kind, code)
}

/** Text of a stranger for a log line: bounded, without characters that a terminal obeys. */
function plain(text: string): string {
  return text
    .slice(0, 200)
    .toWellFormed()
    .replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, ' ')
}

/** DISCONNECT reason codes that a broker sends (MQTT 5 §3.14.2.1), as far as they tell a person something. */
const disconnectCodes: ReadonlyMap<number, string> = new Map([
  [0x00, 'normal disconnection'],
  [0x80, 'unspecified error'],
  [0x81, 'malformed packet'],
  [0x82, 'protocol error'],
  [0x83, 'implementation specific error'],
  [0x87, 'not authorized'],
  [0x89, 'server busy'],
  [0x8b, 'server shutting down'],
  [0x8d, 'keep alive timeout'],
  [0x8e, 'session taken over'],
  [0x8f, 'topic filter invalid'],
  [0x90, 'topic name invalid'],
  [0x93, 'receive maximum exceeded'],
  [0x95, 'packet too large'],
  [0x96, 'message rate too high'],
  [0x97, 'quota exceeded'],
  [0x98, 'administrative action'],
  [0x99, 'payload format invalid'],
  [0x9a, 'retain not supported'],
  [0x9b, 'QoS not supported'],
  [0x9c, 'use another server'],
  [0x9d, 'server moved'],
  [0x9e, 'shared subscriptions not supported'],
  [0x9f, 'connection rate exceeded'],
  [0xa0, 'maximum connect time'],
  [0xa1, 'subscription identifiers not supported'],
  [0xa2, 'wildcard subscriptions not supported'],
])

/** Another client has come with our client id. */
export const sessionTakenOver = 0x8e

/** What a reason code of a DISCONNECT, SUBACK or PUBACK means, for people. */
export function describeReason(code: number): string {
  return `${disconnectCodes.get(code) ?? 'reason'} (0x${code.toString(16).padStart(2, '0')})`
}
