import type { Entering, LedgerStore } from './ledger.ts'
import type { Fate, Tally } from './tally.ts'

/** A job as its handler sees it. */
export interface Job<Data> {
  readonly id: string
  readonly data: Data
  /** How many processes died while they held this job. */
  readonly deaths: number
  /** When it was added, in milliseconds since 1970. */
  readonly at: number
  /** Replaces the stored data while the job stays in hand; durable when it resolves. What a successor finds after a death. */
  update(data: Data): Promise<void>
}

/**
 * What a handler leaves: nothing, or the job with new data and a time to wait. It never throws on purpose. `tally`: what became of
 * all that the job brought in; it is in the ledger before the job is gone.
 */
export type Handled<Data> =
  | { readonly kind: 'done'; readonly tally?: Tally }
  | { readonly kind: 'again'; readonly data: Data; readonly afterMs: number }

/**
 * Called with one job at a time, `concurrency` at once. If it throws (a defect), the job comes back later with its last
 * stored data: no path leads to BullMQ's `failed`.
 */
export type Handler<Data> = (job: Job<Data>, signal: AbortSignal) => Promise<Handled<Data>>

export interface Consumer {
  /** Takes no further jobs; those in hand go on. Resolves at once. */
  pause(): void
  resume(): void
  /**
   * Takes no further jobs and waits for those in hand; after `deadlineMs` aborts their signal and leaves them to be
   * taken up by the next process as if this one had died.
   */
  close(deadlineMs: number): Promise<void>
}

export interface QueueCounts {
  readonly waiting: number
  readonly active: number
  readonly delayed: number
}

/** What *durable* means here (DESIGN §7.2). */
export type Durability = 'process' | 'fsync' | 'replicated'

/**
 * The queues of a Sluice, on Redis or embedded. A queue is a name; queues of one worker share a Redis hash tag. Says
 * queue semantics only: no connection, no Redis word. Every implementation passes test/conformance/queue.ts.
 */
export interface Queues {
  readonly kind: 'redis' | 'embedded'
  readonly durability: Durability
  /** One line for people: where it is, and what durable means there now: nothing is promised where that can't be kept. */
  readonly describe: string
  /**
   * Adds jobs; resolves when all are durable. Adding an id that is there already changes nothing, so repeating a call
   * that failed is safe. On failure throws SluiceError QUEUE_AWAY; some jobs may then be in (repeat it, or count them in doubt).
   * Fails within a second or two when the queue is away (five where it answers and does not write), never keeps the jobs for later.
   */
  add(queue: QueueName, jobs: readonly NewJob[]): Promise<void>
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- what a queue holds is known to its reader only
  consume<Data>(queue: QueueName, handler: Handler<Data>, options: { readonly concurrency: number }): Consumer
  counts(queue: QueueName): Promise<QueueCounts>
  /** Jobs that wait, oldest first, without taking them. */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as above
  peek<Data>(queue: QueueName, start: number, count: number): Promise<readonly StoredJob<Data>[]>
  /**
   * Jobs that wait, oldest first, behind the cursor of one that was given before; without one, or with text that is none, from
   * the oldest. At most `count`, and fewer where they are large: only an empty page is the end. What is added or taken out meanwhile
   * moves nothing; where the cursor's own job was taken out, some near it may be left out or come twice. As quick far back as in front.
   */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as above
  page<Data>(queue: QueueName, from: string | undefined, count: number): Promise<readonly PagedJob<Data>[]>
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as above
  get<Data>(queue: QueueName, id: string): Promise<StoredJob<Data> | undefined>
  /**
   * Removes waiting jobs by id; says how many were there. `became`: what the ledger says of all that they had brought in
   * (`replayed`, `dropped:<reason>`), or a tally of what became of the messages of one job; a job that is removed without it is one
   * that the ledger misses.
   */
  remove(queue: QueueName, ids: readonly string[], became?: Fate | Tally): Promise<number>
  /** Every worker that has a queue in the store, whether a file owns it or not: found from what is there, whatever was remembered. */
  owners(): Promise<readonly string[]>
  /**
   * What the queues of each owner take in the store: counted, and bytes from a sample of what is there, so that nothing adds up to
   * an error. An owner without jobs has zeros. `parts`: all three, or those that may be looked at.
   */
  sizes(owners: readonly string[], parts?: readonly QueueName['part'][]): Promise<ReadonlyMap<string, QueueSize>>
  /** How much the store can hold; where there are several, the one that is shared. */
  room(): Promise<QueueRoom>
  readonly store: Store
  readonly ledger: LedgerStore
  /** What a worker remembers for itself, beside its queue. */
  memo(owner: string): Memo
  /**
   * Resolves when the queue takes adds now: one was taken within the last second, or else a small write was, of which there is at most one
   * a second. Throws what an add would, within the time that an add has. For a worker: when the queue can be reached.
   */
  ping(): Promise<void>
  /** Why an add would fail now, as far as that is known without asking; undefined: nothing is known against it. */
  readonly trouble: string | undefined
  close(): Promise<void>
}

/** A job on its way into a queue. */
export interface NewJob {
  readonly id: string
  readonly data: unknown
  /** What it brings in, for the ledger. */
  readonly entering?: Entering
}

export interface QueueSize {
  readonly jobs: number
  /** With what the store needs beside the data; an estimate. */
  readonly bytes: number
  /** Those of them that are dead letters. */
  readonly deadBytes: number
}

export interface QueueRoom {
  /** Bytes for queues: `maxmemory` of Redis, or what the disk of an embedded queue has free and the queue takes already. */
  readonly bytes: number
  /** Bytes that can still be written before the store as a whole is too full to work on: what lies in it must be got out still. */
  readonly left: number
  /** The store sets itself no bound, so `bytes` is a guess. */
  readonly unbounded?: true
  /** Where `bytes` comes from, for people. */
  readonly what: string
}

export interface StoredJob<Data> {
  readonly id: string
  readonly data: Data
  readonly at: number
}

export interface PagedJob<Data> extends StoredJob<Data> {
  /** Where to go on behind it: printable, without `/`; its form is nobody's business. */
  readonly cursor: string
}

/**
 * `owner` is a worker's name, or what has dead letters only (core/owner.ts). `work`: envelopes waiting for
 * the worker (FIFO); `failures`: what it gave up, for ingest to take; `dead`: dead letters, taken by nobody.
 */
export interface QueueName {
  readonly owner: string
  readonly part: 'work' | 'failures' | 'dead'
}

/** One small JSON value; it may be as old as what a store that went back in time holds. Throws QUEUE_AWAY. */
export interface Memo {
  read(): Promise<unknown>
  write(value: unknown): Promise<void>
}

/** Small durable state of ingest, kept beside the queues. Keys are free text, values JSON. No worker's Redis user reaches it. */
export interface Store {
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as above
  get<Value>(key: string): Promise<Value | undefined>
  set(key: string, value: unknown): Promise<void>
  delete(key: string): Promise<void>
  /**
   * Takes the lease of a key for `ms`, or renews it if `holder` holds it already; false when another holds it. A lease
   * that is not renewed ends by itself. All who ask for a key ask for the same time: one that would last longer is cut to it,
   * for a clock has gone back since.
   */
  lease(key: string, holder: string, ms: number): Promise<boolean>
  release(key: string, holder: string): Promise<void>
  /** A table of records that all ingests share; made when it is first written to. */
  table(name: string): Table
  /**
   * Calls the listener whenever the store has come back after it was away, before anything else is asked of it. It may then have
   * an older state than was seen: what was read of it no longer counts, and what was written may not be there.
   */
  onReturn(listener: () => void): void
}

/**
 * Records by key, with a version that counts every change of the table, so that each ingest can follow what others change. A record
 * is replaced whole.
 */
export interface Table {
  /**
   * Writes a record, or with `undefined` takes it away (a trace of it stays, so that followers hear of it); durable when it
   * resolves. With `ifVersion` (0: not there) only where the record still has that version. Gives the record's new version,
   * or undefined where it had another.
   */
  put(key: string, value: unknown, ifVersion?: number): Promise<number | undefined>
  /** What has changed since a version (0: everything), oldest first; at most `limit` (1,000 by default) at a time. */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as above
  since<Value>(version: number, limit?: number): Promise<readonly Change<Value>[]>
}

export interface Change<Value> {
  readonly key: string
  /** The table's version after it, which is the record's own. */
  readonly version: number
  /** Undefined: taken away. */
  readonly value: Value | undefined
}
