import type { BackendFactory, ConnectionOptions, Job as BullJob, Queue, RedisQueueBackend } from 'bullmq'
import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import type { Entering, LedgerStore } from '../core/ledger.ts'
import type {
  Durability,
  PagedJob,
  QueueCounts,
  QueueName,
  QueueRoom,
  QueueSize,
  Store,
  StoredJob,
} from '../core/queue.ts'
import type { BullName } from './names.ts'

/** A job on its way into a queue: BullMQ's id, and the data in the form the backend keeps it. */
export interface NewJob {
  readonly id: string
  readonly data: unknown
  /** What it brings in, for the ledger. */
  readonly entering: Entering | undefined
}

/** What makes BullMQ's link to its store. BullMQ's own types name the one for Redis unless one is generic all the way through. */
export type Factory = BackendFactory<RedisQueueBackend>

/** How BullMQ reaches its store, and how long a job stays with a process that gives no sign of life. */
export interface WorkerSettings {
  readonly connection: ConnectionOptions
  readonly factory: Factory
  readonly lockMs: number
  readonly stalledCheckMs: number
}

/**
 * What differs between Redis and the embedded queue; everything else is in bullmq-queues.ts and consumer.ts once. Whatever
 * goes to the store throws QueueAwayError when that doesn't answer in time.
 */
export interface Backend {
  readonly kind: 'redis' | 'embedded'
  readonly durability: Durability
  readonly describe: string
  /** As `Queues.trouble`. */
  readonly trouble: string | undefined
  readonly store: Store
  readonly ledger: LedgerStore
  readonly workerSettings: WorkerSettings
  /** What BullMQ's dates are made by in this process. */
  readonly clock: Clock
  /** A BullMQ queue that is ready for use now. */
  queue(name: BullName): Promise<Queue>
  /** Runs `operation`; what it throws, and taking too long, become a QueueAwayError. */
  attempt<T>(operation: () => Promise<T>): Promise<T>
  /** Data in the form the store keeps whole, whatever characters are in it. */
  encode(data: unknown): unknown
  decode(stored: unknown): unknown
  /** Resolves when all are durable, each with its entry in the ledger. */
  addAll(queue: Queue, name: QueueName, jobs: readonly NewJob[]): Promise<void>
  counts(queue: Queue): Promise<QueueCounts>
  /** Waiting jobs, oldest first. */
  waiting(queue: Queue, start: number, count: number): Promise<readonly StoredJob<unknown>[]>
  /** Waiting jobs behind a cursor, oldest first; none at the end only. */
  page(name: BullName, from: string | undefined, count: number): Promise<readonly PagedJob<unknown>[]>
  /**
   * Removes jobs that wait; says how many did. `leaving` is written of those and no others, in the same step: one that somebody else
   * has just finished has its own word in the ledger.
   */
  remove(name: BullName, ids: readonly string[], leaving: string | undefined): Promise<number>
  /** How many a call of `remove` takes. */
  readonly removedAtOnce: number
  /** Puts a job that was fetched and not begun back to where it was; gives what a BullMQ processor throws then. */
  putBack(job: BullJob, token: string): Promise<Error>
  /** Takes back one count of a death: this process lost the lock, and lives. */
  forgiveDeath(name: BullName, id: string): Promise<void>
  /**
   * Puts right what a step of the clock has done to the dates of a queue: nobody waits longer than was asked for, no lock lasts longer
   * than it was taken for, and those of the jobs in hand in this process hold.
   */
  keepToClock(name: BullName, inHand: readonly InHand[]): Promise<void>
  /** One small text beside a queue; undefined where none was written. */
  readMemo(name: BullName): Promise<string | undefined>
  writeMemo(name: BullName, text: string): Promise<void>
  /** Before every add to a queue of this owner: writes it down where that isn't known to be written. */
  register(owner: string): Promise<void>
  /** Who has a queue with jobs in the store, found from what is there, and who had one. */
  owners(): Promise<readonly string[]>
  /** Writes something small that leaves nothing behind; resolves when that is as durable as an add, and fails where an add would. */
  prove(): Promise<void>
  sizes(owners: readonly string[], parts: readonly QueueName['part'][]): Promise<ReadonlyMap<string, QueueSize>>
  room(): Promise<QueueRoom>
  /** Something went wrong in BullMQ's own background work. */
  complain(error: unknown): void
  close(): Promise<void>
}

/** A job that this process has in hand, and the token of its lock. */
export interface InHand {
  readonly id: string
  readonly token: string
}

/** Rejects after `ms`; for waiting on what may never answer. */
export async function within<T>(ms: number, promise: Promise<T>, late: () => Error): Promise<T> {
  const { promise: timeout, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(late()), ms)
  promise.catch(() => {}) // When the time has run out, nobody listens any more.
  try {
    return await Promise.race([promise, timeout])
  } finally {
    clearTimeout(timer)
  }
}

export function closedError(): SluiceError {
  return new SluiceError('QUEUE_AWAY', 'the queue was closed')
}
