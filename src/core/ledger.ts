import type { QueueName } from './queue.ts'
import type { Fate, Tally } from './tally.ts'

/**
 * What a job brings into its queue. It is entered in the same step as the job is added, so that a job is there with its entry or not
 * at all; under the job's id, so that repeating the add enters nothing anew.
 */
export interface Entering {
  readonly tally: Tally
  /**
   * The running numbers that its messages were given when they were accepted, by rule: whole numbers from `first` to `last` under a
   * name that no other process uses. A number that was entered before is a message that was added twice.
   */
  readonly numbers?: { readonly series: string; readonly ranges: readonly NumberRange[] }
}

export type NumberRange = readonly [rule: string, first: number, last: number]

/**
 * What is written of a job that is about to leave its queue: a tally and when the job was added (milliseconds since 1970), or one thing
 * that became of all that it had brought in.
 */
export type Leaving = { readonly tally: Tally; readonly at: number } | { readonly all: Fate }

/** A job's entry: it is in the ledger and has not been settled. */
export interface OpenEntry {
  readonly id: string
  /** Entries of a queue are numbered in the order of their adding. */
  readonly number: number
  readonly tally: Tally
}

/** A job of which it was written what became of it. Whether it has left is another question. */
export interface LeavingEntry {
  readonly id: string
  /** What was written, as it stands there. */
  readonly leaving: string
  /** Its entry as it stands there; undefined where it has none. */
  readonly entry: string | undefined
  readonly isThere: boolean
}

/**
 * What totals are of. `in` and `out`: how messages came, and what became of them. The others say of which job something is wrong:
 * `twice`: messages that were entered before; `unentered`: they left, and had never been entered; `short`: they left without a word
 * of what became of them; `over`: more became something than had been entered.
 */
export const sides = ['in', 'out', 'twice', 'unentered', 'short', 'over'] as const
export type Side = (typeof sides)[number]

/** A line of totals. */
export interface TotalLine {
  readonly side: Side
  readonly rule: string
  /** An arrival or a fate; of the other sides the id of the job, or `…` for all beyond those that are named. */
  readonly what: string
  readonly messages: number
}

export interface LedgerTotals {
  readonly lines: readonly TotalLine[]
  /** The number of the last entry that these totals hold. */
  readonly lastNumber: number
}

/** Jobs and open entries of a queue, counted in one step. */
export interface Census {
  readonly jobs: number
  readonly entries: number
}

/**
 * The books of the queues, beside the jobs and durable like them. What they mean is for delivery/ to say; here they are entries
 * under a job's id and sums. Every call throws QUEUE_AWAY when the queue is away, and may be repeated.
 */
export interface LedgerStore {
  /** Enters jobs that are there and have no entry: they were added before there was a ledger. */
  enter(queue: QueueName, jobs: readonly { readonly id: string; readonly entering: Entering }[]): Promise<void>
  /** Writes what becomes of jobs, before they are removed; written again it replaces. `onlyEntered`: only of those with an open entry. */
  leave(
    queue: QueueName,
    leaving: readonly { readonly id: string; readonly leaving: Leaving }[],
    onlyEntered?: boolean,
  ): Promise<void>
  totals(queue: QueueName): Promise<LedgerTotals>
  census(queue: QueueName): Promise<Census>
  /** Entries with a number over `after`, in the order of their numbers. */
  open(queue: QueueName, after: number, limit: number): Promise<readonly OpenEntry[]>
  /** Jobs with something written of them, about `limit` a call, in no order and perhaps twice; from '' on, until `next` is absent. */
  leaving(
    queue: QueueName,
    from: string,
    limit: number,
  ): Promise<{ readonly entries: readonly LeavingEntry[]; readonly next?: string }>
  /** What was written of these jobs, by id. */
  left(queue: QueueName, ids: readonly string[]): Promise<ReadonlyMap<string, string>>
  /**
   * Takes entries out and adds what they come to to the totals, if everything is as it was read and their jobs are gone;
   * otherwise does nothing and gives false. All in one step.
   */
  settle(queue: QueueName, entries: readonly LeavingEntry[], sums: readonly TotalLine[]): Promise<boolean>
  /** Adds to the totals; not to be repeated. */
  count(queue: QueueName, sums: readonly TotalLine[]): Promise<void>
  /** What jobs hold now, by id; undefined for one that isn't there. Without `withData` a job that is there is `null`. */
  jobs(queue: QueueName, ids: readonly string[], withData: boolean): Promise<ReadonlyMap<string, unknown>>
}
