import type { BacklogPolicy } from './room.ts'
import type { Position } from './problem.ts'
import type { Durability } from './queue.ts'

/** How a worker treats failure and load; durations in milliseconds. */
export interface DeliveryPolicy {
  /** Answers of the far side about a message before it is given up. */
  readonly attempts: number
  /** Age of a message, counted from its acceptance, at which it is given up. */
  readonly age: number
  readonly backoff: { readonly first: number; readonly max: number }
  /** Sends in flight per worker. */
  readonly concurrency: number
}

/** A Redis that one worker has for itself; a secret, for the url may hold a password. `size`: bytes, where the file says so. */
export interface OwnQueue {
  readonly url: string
  readonly durability?: Durability
  readonly acceptLoss: boolean
  readonly size?: number
  /** PEM texts. */
  readonly tls?: {
    readonly ca?: string
    readonly certificate?: string
    readonly key?: string
    readonly servername?: string
  }
  readonly sentinel?: { readonly username?: string; readonly password: string }
}

/** A worker as its file says it. For its owner the references are resolved; for ingest `settings` and `credential` are left out. */
export interface WorkerDefinition {
  readonly name: string
  readonly position: Position
  readonly kind: string
  /** `output`: originals are not kept in the queue once `select` has made something else. */
  readonly keep: 'original' | 'output'
  readonly delivery: DeliveryPolicy
  /** What its file says of its backlog; the rest is as sluice.yaml says. */
  readonly backlog?: Partial<BacklogPolicy>
  /** Where its queues are, if not where those of all others are. Resolved for ingest too, which adds to them. */
  readonly queue?: OwnQueue
  /** Defaults under every action's `with`. */
  readonly with: Readonly<Record<string, unknown>>
  /** The kind's settings, as its schema gives them. */
  readonly settings?: unknown
  readonly credential?: { readonly type: string; readonly settings: unknown }
}
