import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { SluiceError, messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { QueueName, Queues } from '../core/queue.ts'
import { type LedgerReport, type OwnerStations, reportOf } from './ledger-report.ts'
import { settleQueue } from './settle.ts'
import { arrivalsIn, foundIn, lookAt } from './station.ts'

export interface LedgerOptions {
  readonly queues: Queues
  /** Workers that a file owns now; others are found in the store. */
  readonly workers: () => readonly string[]
  readonly log: Log
  /** How often entries are settled, in milliseconds. 5 s: entries of what has left take room until then. */
  readonly settleMs?: number
}

export interface Ledger {
  /** Begins the books where there are none yet. Resolves when that is durable, or when the queue is away. */
  start(): Promise<void>
  /** Looks at everything and adds it up. Takes as long as reading all envelopes that wait; QUEUE_AWAY when the queue is away. */
  report(): Promise<LedgerReport>
  /** Settles what can be settled now; nothing where others have the books in hand, or the queue is away. */
  settle(): Promise<void>
  close(): Promise<void>
}

const parts = ['work', 'failures', 'dead'] as const

/** Where several ingests share the queues, one of them has the books in hand; a holder that dies lets go by itself. */
const lease = { key: 'ledger', ms: 30_000, patienceMs: 40_000, lookMs: 100 }
const sinceKey = 'ledger:since'
/** Jobs of an older Sluice that are entered together. */
const pageSize = 100
/** Entries that a round settles of one queue. */
const mostSettled = 20_000

/** Keeps the books of all queues: settles what has left, and says on request whether everything is accounted for. Runs in ingest. */
export function createLedger({ queues, workers, log, settleMs = 5_000 }: LedgerOptions): Ledger {
  const { ledger, store } = queues
  const holder = randomUUID()
  let timer: NodeJS.Timeout | undefined
  let closed = false
  let since: number | undefined
  let working: Promise<unknown> = Promise.resolve()

  return {
    async start() {
      await begin().catch((error: unknown) => log.debug({ error: messageOf(error) }, 'the ledger could not be opened'))
      schedule()
    },
    report: () => alone(report),
    settle: () => inTurn(settleIfFree),
    async close() {
      closed = true
      clearTimeout(timer)
      await working
    },
  }

  async function begin(): Promise<number> {
    if (since !== undefined) return since
    const known = await store.get<number>(sinceKey)
    if (known !== undefined) return (since = known)
    const now = Date.now()
    for (const owner of await owners()) for (const part of parts) await takeOver({ owner, part })
    await store.set(sinceKey, now)
    return (since = now)
  }

  /** Enters what an older Sluice left in a queue. Where this user may not list it, it is counted when it leaves. */
  async function takeOver(queue: QueueName): Promise<void> {
    for (let start = 0; ; start += pageSize) {
      const jobs = await queues.peek(queue, start, pageSize).catch(() => [])
      const found = jobs.flatMap(({ id, data }) => {
        const entering = foundIn(data)
        return entering === undefined ? [] : [{ id, entering }]
      })
      if (found.length > 0) await ledger.enter(queue, found)
      if (jobs.length < pageSize) return
    }
  }

  function schedule(): void {
    if (closed) return
    timer = setTimeout(() => void inTurn(settleIfFree).finally(schedule), settleMs).unref()
  }

  async function settleIfFree(): Promise<void> {
    try {
      if (await store.lease(lease.key, holder, lease.ms)) await andLetGo(settleAll)
    } catch (error) {
      log.debug({ error: messageOf(error) }, 'the ledger could not be settled')
    }
  }

  /** Runs `work` when no other ingest, and nothing else here, has the books in hand. */
  function alone<Result>(work: () => Promise<Result>): Promise<Result> {
    return inTurn(async () => {
      const end = performance.now() + lease.patienceMs
      while (!(await store.lease(lease.key, holder, lease.ms))) {
        if (performance.now() > end) throw new SluiceError('QUEUE_AWAY', 'another ingest has the ledger in hand')
        await sleep(lease.lookMs)
      }
      return andLetGo(work)
    })
  }

  function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = working.then(work)
    working = result.catch(() => {})
    return result
  }

  async function andLetGo<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work()
    } finally {
      await store.release(lease.key, holder).catch(() => {})
    }
  }

  async function keepHold(): Promise<void> {
    if (!(await store.lease(lease.key, holder, lease.ms)))
      throw new SluiceError('QUEUE_AWAY', 'another ingest took the ledger in hand; ask again')
  }

  async function settleAll(): Promise<void> {
    const begun = await begin()
    for (const owner of await owners()) {
      try {
        for (const part of parts) await settleQueue({ owner, part }, { ledger, since: begun, most: mostSettled })
      } catch (error) {
        // One that has a store of its own may be away by itself.
        log.debug({ owner, error: messageOf(error) }, 'the ledger of a queue could not be settled')
      }
    }
  }

  async function report(): Promise<LedgerReport> {
    await settleAll()
    const at = Date.now()
    const stations: OwnerStations[] = []
    for (const owner of await owners()) {
      // In the order in which messages go: what has left one queue is in the next before.
      const work = await lookAt({ owner, part: 'work' }, ledger, keepHold)
      const failures = await lookAt({ owner, part: 'failures' }, ledger, keepHold)
      const dead = await lookAt({ owner, part: 'dead' }, ledger, keepHold)
      // And what was replayed is in the first again before it leaves the last.
      const arrivals = await arrivalsIn({ owner, part: 'work' }, ledger)
      stations.push({ owner, work, failures, dead, arrivals })
    }
    return reportOf(at, stations)
  }

  async function owners(): Promise<readonly string[]> {
    return [...new Set([...workers(), ...(await queues.owners())])].toSorted()
  }
}
