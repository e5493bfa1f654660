import type { Entry } from '../core/envelope.ts'
import { SluiceError, messageOf, QueueAwayError } from '../core/errors.ts'
import { newId } from '../core/id.ts'
import type { Entering } from '../core/ledger.ts'
import type { Queues } from '../core/queue.ts'
import { enteringOf, type Numbered } from './entering.ts'
import { envelopeOf, type SizedEntry } from './envelope-codec.ts'

export interface LaneLimits {
  /** Messages in an envelope. 256: beyond that the cost per message falls no further, and a failed batch is repeated whole. */
  readonly messagesPerEnvelope: number
  /** Bytes in an envelope, estimated. 1 MiB: what a store takes and gives in a few milliseconds. */
  readonly bytesPerEnvelope: number
  /** Full envelopes in one call. */
  readonly envelopesPerAdd: number
  /** Calls under way per queue. 2: one is written while the other is answered. */
  readonly addsInFlight: number
}

/** Where a lane's envelopes go. */
export interface LaneTarget {
  readonly queues: Pick<Queues, 'add'>
  readonly worker: string
  /** A name for the numbers of this process' messages. */
  readonly series: string
}

/** A message on its way in: told when the last add that holds a part of it has ended. */
export interface Ticket {
  /** An add with `count` of its entries ended; the error when it failed. */
  settle(count: number, error?: QueueAwayError): void
}

interface Waiting extends SizedEntry, Numbered {
  readonly set: string
  readonly ticket: Ticket
}

interface Batch {
  readonly id: string
  readonly data: unknown
  readonly entering: Entering
  readonly entries: readonly Waiting[]
}

export interface LaneEvents {
  adding(worker: string, bytes: number): void
  added(worker: string, envelopes: number, entries: number): void
  /** These bytes wait no more. */
  released(bytes: number, entries: number): void
}

/**
 * What waits for one worker's queue. Group commit without a timer: when no add is under way what is there goes; what comes
 * meanwhile is the next envelope, so envelopes grow with load by themselves. A further add may start before the first
 * has ended only when it is full.
 */
export class Lane {
  readonly #target: LaneTarget
  readonly #limits: LaneLimits
  readonly #events: LaneEvents
  #waiting: Waiting[] = []
  #bytes = 0
  #inFlight = 0
  /** Whether the loop is asked to come by at the end of this turn. */
  #called = false

  constructor(target: LaneTarget, limits: LaneLimits, events: LaneEvents) {
    this.#target = target
    this.#limits = limits
    this.#events = events
  }

  /** `number`: the running number of this message among those of its worker and rule. */
  push({ entry, bytes }: SizedEntry, number: number, set: string, ticket: Ticket): void {
    this.#waiting.push({ entry, bytes, number, set, ticket })
    this.#bytes += bytes
    if (this.#called) return
    this.#called = true
    // What one read from a socket brings goes together, and nothing waits for longer than that.
    setImmediate(() => {
      this.#called = false
      this.#flush()
    })
  }

  #flush(): void {
    while (this.#waiting.length > 0) {
      if (this.#inFlight >= this.#limits.addsInFlight) return
      if (this.#inFlight > 0 && !this.#isFull()) return
      void this.#add(this.#cut())
    }
  }

  #isFull(): boolean {
    return this.#waiting.length >= this.#limits.messagesPerEnvelope || this.#bytes >= this.#limits.bytesPerEnvelope
  }

  /** Takes envelopes off the front; while another add is under way only full ones. */
  #cut(): Batch[] {
    const batches: Batch[] = []
    let start = 0
    while (start < this.#waiting.length && batches.length < this.#limits.envelopesPerAdd) {
      const end = this.#endOfEnvelope(start)
      if (this.#inFlight > 0 && end === this.#waiting.length && batches.length > 0) break
      batches.push(batchOf(this.#target.series, this.#waiting.slice(start, end)))
      start = end
    }
    this.#waiting = this.#waiting.slice(start)
    for (const { entries } of batches) for (const { bytes } of entries) this.#bytes -= bytes
    return batches
  }

  /** At least one message, however large; one rule set only. */
  #endOfEnvelope(start: number): number {
    const { messagesPerEnvelope, bytesPerEnvelope } = this.#limits
    const set = this.#waiting[start]?.set
    let bytes = 0
    let end = start
    while (end < this.#waiting.length && end - start < messagesPerEnvelope) {
      const next = this.#waiting[end]
      if (next === undefined || next.set !== set) break
      bytes += next.bytes
      if (bytes > bytesPerEnvelope && end > start) break
      end += 1
    }
    return end
  }

  async #add(batches: readonly Batch[]): Promise<void> {
    this.#inFlight += 1
    const { queues, worker } = this.#target
    for (const { entries } of batches)
      this.#events.adding(
        worker,
        entries.reduce((sum, { bytes }) => sum + bytes, 0),
      )
    const error = await queues.add({ owner: worker, part: 'work' }, batches).then(
      () => undefined,
      (thrown: unknown) => asAway(thrown),
    )
    this.#inFlight -= 1
    this.#settle(batches, error)
    this.#flush()
  }

  #settle(batches: readonly Batch[], error: QueueAwayError | undefined): void {
    let bytes = 0
    let entries = 0
    for (const batch of batches) {
      entries += batch.entries.length
      for (const waiting of batch.entries) bytes += waiting.bytes
    }
    this.#events.released(bytes, entries)
    if (error === undefined) this.#events.added(this.#target.worker, batches.length, entries)
    for (const batch of batches) for (const { ticket } of batch.entries) ticket.settle(1, error)
  }
}

function batchOf(series: string, entries: readonly Waiting[]): Batch {
  const plain: Entry[] = entries.map(({ entry }) => entry)
  const data = envelopeOf(entries[0]?.set ?? '', plain)
  return { id: newId(), data, entering: enteringOf(series, entries), entries }
}

function asAway(thrown: unknown): QueueAwayError {
  if (thrown instanceof QueueAwayError) return thrown
  // Any other error of ours says that nothing was sent; of a stranger's we don't know.
  return new QueueAwayError(messageOf(thrown), !(thrown instanceof SluiceError), { cause: thrown })
}
