import type { BacklogPolicy } from './room.ts'
import type { Position } from './problem.ts'

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
  /** Defaults under every action's `with`. */
  readonly with: Readonly<Record<string, unknown>>
  /** The kind's settings, as its schema gives them. */
  readonly settings?: unknown
  readonly credential?: { readonly type: string; readonly settings: unknown }
}
