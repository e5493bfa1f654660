import type { Accept, Principal, Publish } from '../../core/access.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { Store } from '../../core/queue.ts'
import type { TlsSettings } from '../../mqtt/socket.ts'
import type { HandInOptions } from './hand-in.ts'

/**
 * Makes text of a message, before it is accepted: who it is from, or the publisher's own id. Undefined: the message doesn't say. A
 * promise where JSONata is needed. May throw, or reject.
 */
export type FromPublish = (publish: Publish) => string | undefined | Promise<string | undefined>

/** A bridge as sluice.yaml says it (config's BridgeSettings fit), templates compiled, references resolved. Durations in milliseconds. */
export interface BridgeSettings {
  readonly name: string
  readonly url: string
  /** Topic filters, without `$share/`. */
  readonly topics: readonly string[]
  /** The group of an MQTT shared subscription: several ingests take turns. */
  readonly share?: string
  /** Several ingests, one session: one has it, and another when that one is gone. Not together with `share`. */
  readonly standby?: boolean
  /** `sluice-<bridge>-<slot>` where it is left out. Given, it is used as it is, and no two ingests may have it at a time. */
  readonly clientId?: string
  readonly username?: string
  readonly password?: string
  readonly tls?: TlsSettings
  /**
   * Who a message is from: of the message, or the value of a user property, which must occur exactly once. A message that
   * doesn't say is refused. Left out: the bridge speaks for itself.
   */
  readonly thing?: FromPublish | { readonly property: string }
  /** The publisher's own id of a message. */
  readonly id?: FromPublish
  /** The QoS to subscribe with. */
  readonly qos: 0 | 1
  /** What becomes of QoS 0 messages over `qos0Buffer`: they are dropped and counted, or nothing is read for a while. */
  readonly qos0: 'drop' | 'pause'
  /** Retained messages of the broker: when a filter is first subscribed, never, or with every connection. */
  readonly retained: 'once' | 'never' | 'always'
  /** QoS 1 messages in hand; reading stops at it whether the broker keeps to it or not. */
  readonly receiveMaximum: number
  readonly sessionExpiry: number
  readonly keepalive: number
}

/** What a bridge is made of. */
export interface BridgeOptions {
  readonly settings: BridgeSettings
  readonly accept: Accept
  /** Keeps what was refused; resolves when it is durable, rejects with QUEUE_AWAY. */
  readonly keepRefused: HandInOptions['keepRefused']
  /** Who the bridge is; method `bridge`. */
  readonly principal: Principal
  readonly store: Store
  readonly log: Log
  readonly metrics: Metrics
  readonly limits?: Partial<BridgeLimits>
}

export interface BridgeLimits {
  /** Most bytes of a packet that are kept; a longer message is refused. Must be above the payload limit of accept. */
  readonly maximumPacketSize: number
  /** Payload bytes in hand, over which nothing is read: a thousand large messages must not be a quarter of a gigabyte. */
  readonly inHandBytes: number
  /** QoS 0 messages in hand. They can't be pushed back one by one, so they must not take the room of QoS 1. */
  readonly qos0Buffer: number
  /** Waits between connects. */
  readonly reconnect: { readonly first: number; readonly max: number }
  /** Waits between offers of messages that were answered `later`. */
  readonly again: { readonly first: number; readonly max: number }
  /** How long a slot of a shared bridge stays taken after its ingest has died. */
  readonly leaseMs: number
  readonly connectTimeoutMs: number
}

export const defaultBridgeLimits: BridgeLimits = {
  maximumPacketSize: 256 * 1024, // twice AWS IoT's payload limit: room for topic and properties
  inHandBytes: 32 * 1024 * 1024, // 256 messages of AWS IoT's largest
  qos0Buffer: 1_000,
  reconnect: { first: 500, max: 30_000 }, // a broker that restarts is back within seconds
  again: { first: 100, max: 5_000 },
  leaseMs: 10_000, // as long as the queue takes to find out that a process has died
  connectTimeoutMs: 15_000,
}
