import { QueueAwayError } from '../core/errors.ts'
import { newId } from '../core/id.ts'
import type { Delivery, Message } from '../core/message.ts'
import { type Metrics, uncounted } from '../core/metrics.ts'
import type { Queues } from '../core/queue.ts'
import { Numbers } from './entering.ts'
import { commonOf, entryOf, type SizedEntry } from './envelope-codec.ts'
import { Lane, type LaneLimits } from './lane.ts'

export interface EnqueuerOptions extends Partial<LaneLimits> {
  /** Whether a worker says `keep: output`: its entries go without the original where `select` made something else. */
  readonly keepsOutput?: (worker: string) => boolean
  /** Bytes that may wait in memory for all queues together, estimated. 64 MiB: more is told "later" at once. */
  readonly waitingBytes?: number
  /** Entries that may wait. 100,000: small messages cost more than their bytes. */
  readonly waitingEntries?: number
  readonly metrics?: Metrics
  /** Told what goes into which queue, before it does. */
  readonly adding?: (worker: string, bytes: number) => void
}

/** A message and where it goes. */
export interface Enqueued {
  readonly message: Message
  readonly deliveries: readonly Delivery[]
}

export interface Enqueuer {
  /**
   * Resolves when every envelope that the message is in has been added. Throws QueueAwayError when one has not, after all
   * adds have ended, and never tries that again: `inDoubt` says whether a part may be in a queue all the same.
   */
  enqueue(message: Message, deliveries: readonly Delivery[], set: string): Promise<void>
  /**
   * The same for messages that came together, with a promise for each. Throws QueueAwayError, and then nothing of them is in,
   * where there is no room for all: the first of them must not get in again and again before the last ever does.
   */
  enqueueAll(messages: readonly Enqueued[], set: string): readonly Promise<void>[]
  /** Messages refused so far of which a part may be in a queue. */
  inDoubt(): number
  /** Resolves when nothing waits and nothing is under way. */
  drain(): Promise<void>
  /** Takes nothing more, and drains. */
  close(): Promise<void>
}

/** Several full envelopes go in one call where a backlog has gathered: fewer, larger writes. */
const defaults = { messagesPerEnvelope: 256, bytesPerEnvelope: 1_048_576, envelopesPerAdd: 4, addsInFlight: 2 }

export function createEnqueuer(queues: Pick<Queues, 'add'>, options: EnqueuerOptions = {}): Enqueuer {
  const {
    keepsOutput = () => false,
    waitingBytes = 67_108_864,
    waitingEntries = 100_000,
    metrics = uncounted,
    adding = () => {},
  } = options
  const limits: LaneLimits = { ...defaults, ...withoutUndefined(options) }
  const lanes = new Map<string, Lane>()
  const series = newId()
  const numbers = new Numbers()
  const idle: (() => void)[] = []
  let bytesWaiting = 0
  let entriesWaiting = 0
  let inDoubt = 0
  let closed = false

  const events = {
    adding,
    added(worker: string, envelopes: number, entries: number) {
      metrics.count('sluice_envelopes_added_total', { worker }, envelopes)
      metrics.count('sluice_envelope_entries_total', { worker }, entries)
    },
    released(bytes: number, entries: number) {
      bytesWaiting -= bytes
      entriesWaiting -= entries
      if (entriesWaiting === 0) for (const done of idle.splice(0)) done()
    },
  }

  function laneOf(worker: string): Lane {
    let lane = lanes.get(worker)
    if (lane === undefined) lanes.set(worker, (lane = new Lane({ queues, worker, series }, limits, events)))
    return lane
  }

  function drain(): Promise<void> {
    if (entriesWaiting === 0) return Promise.resolve()
    return new Promise((resolve) => void idle.push(resolve))
  }

  function enqueueAll(messages: readonly Enqueued[], set: string): readonly Promise<void>[] {
    if (closed) throw new QueueAwayError('this process is stopping', false)
    const sized = messages.map(({ message, deliveries }) => {
      const common = commonOf(message)
      return deliveries.map((delivery) => entryOf(common, delivery, !keepsOutput(delivery.worker)))
    })
    let bytes = 0
    let entries = 0
    for (const some of sized) {
      entries += some.length
      for (const entry of some) bytes += entry.bytes
    }
    const isOver = bytesWaiting + bytes > waitingBytes || entriesWaiting + entries > waitingEntries
    // What is larger than the whole bound goes when nothing else waits.
    if (isOver && entriesWaiting > 0) throw new QueueAwayError('too much waits for the queue already', false)
    bytesWaiting += bytes
    entriesWaiting += entries
    return sized.map((some, index) => push(some, messages[index]?.deliveries ?? [], set))
  }

  function push(entries: readonly SizedEntry[], deliveries: readonly Delivery[], set: string): Promise<void> {
    if (entries.length === 0) return Promise.resolve()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const ticket = ticketOf(entries.length, resolve, (error) => {
      if (error.inDoubt) inDoubt += 1
      reject(error)
    })
    for (const [index, entry] of entries.entries()) {
      const worker = deliveries[index]?.worker ?? ''
      laneOf(worker).push(entry, numbers.take(worker, entry.entry.rule), set, ticket)
    }
    return promise
  }

  return {
    enqueue: async (message, deliveries, set) => enqueueAll([{ message, deliveries }], set)[0],
    enqueueAll,
    inDoubt: () => inDoubt,
    drain,
    close() {
      closed = true
      return drain()
    },
  }
}

/** One for all entries of a message. Its parts may fare differently: then it is not acknowledged, and in doubt. */
function ticketOf(entries: number, resolve: () => void, reject: (error: QueueAwayError) => void) {
  let left = entries
  let isPartlyIn = false
  let failure: QueueAwayError | undefined
  return {
    settle(count: number, error?: QueueAwayError) {
      left -= count
      isPartlyIn ||= error === undefined || error.inDoubt
      failure ??= error
      if (left > 0) return
      if (failure === undefined) return resolve()
      reject(
        failure.inDoubt === isPartlyIn ? failure : new QueueAwayError(failure.message, isPartlyIn, { cause: failure }),
      )
    },
  }
}

function withoutUndefined(options: Partial<LaneLimits>): Partial<LaneLimits> {
  const { messagesPerEnvelope, bytesPerEnvelope, envelopesPerAdd, addsInFlight } = options
  return {
    ...(messagesPerEnvelope !== undefined && { messagesPerEnvelope }),
    ...(bytesPerEnvelope !== undefined && { bytesPerEnvelope }),
    ...(envelopesPerAdd !== undefined && { envelopesPerAdd }),
    ...(addsInFlight !== undefined && { addsInFlight }),
  }
}
