import { setTimeout as sleep } from 'node:timers/promises'
import { SluiceError } from '../../src/core/errors.ts'
import type {
  Change,
  Consumer,
  Handled,
  Handler,
  Job,
  QueueName,
  Queues,
  Store,
  StoredJob,
  Table,
} from '../../src/core/queue.ts'
import { leavingOf } from '../../src/queue/ledger-text.ts'
import { createMemoryLedger, type MemoryBooks } from './memory-ledger.ts'

/** The queues as one process sees them. */
export interface MemoryProcess extends Queues {
  /** As if the process died: what it has in hand comes back with one death more, and nothing it does is heard any more. */
  die(): void
}

/** A double of `Queues` in memory: the contract of core/queue.ts, with switches for what may happen to a real one. */
export interface MemoryQueues extends MemoryProcess {
  /** While true, everything throws QUEUE_AWAY. */
  away: boolean
  /** Sets what `room` says, in bytes. */
  hold(bytes: number, left?: number): void
  /** The same queues as another process sees them. */
  process(): MemoryProcess
  /** The tables as they are now; what is given puts them back, as a store does that went away and came back with an older state. */
  rollBack(): () => void
  /** Everything in a queue, in hand or not. */
  all<Data>(queue: QueueName): readonly StoredJob<Data>[]
}

interface Held {
  readonly id: string
  /** Counts up in the order of adding. */
  readonly number: number
  readonly at: number
  /** JSON, as a real queue would keep it. */
  text: string
  deaths: number
  state: 'waiting' | 'active' | 'delayed'
  dueAt: number
  /** Who has it in hand. */
  holder: symbol | undefined
}

/** What all processes share. */
interface Memory {
  away: boolean
  room: number
  left: number
  /** Jobs so far. */
  added: number
  readonly queues: Map<string, Map<string, Held>>
  readonly books: Map<string, MemoryBooks>
  readonly store: Map<string, string>
  readonly leases: Map<string, { readonly holder: string; readonly until: number }>
  readonly tables: Map<string, MemoryTable>
  readonly returned: (() => void)[]
}

interface MemoryTable {
  version: number
  /** In the order of their versions; without `text`: taken away. */
  readonly records: Map<string, { readonly version: number; readonly text: string | undefined }>
}

export function createMemoryQueues(): MemoryQueues {
  const memory: Memory = {
    added: 0,
    room: Number.MAX_SAFE_INTEGER,
    left: Number.MAX_SAFE_INTEGER,
    away: false,
    queues: new Map(),
    books: new Map(),
    store: new Map(),
    leases: new Map(),
    tables: new Map(),
    returned: [],
  }
  return {
    ...createProcess(memory),
    get away() {
      return memory.away
    },
    set away(value) {
      memory.away = value
    },
    hold(bytes, left = bytes) {
      Object.assign(memory, { room: bytes, left })
    },
    process: () => createProcess(memory),
    rollBack() {
      const before = [...memory.tables].map(
        ([name, { version, records }]) => [name, version, new Map(records)] as const,
      )
      return () => {
        for (const table of memory.tables.values()) Object.assign(table, { version: 0 }).records.clear()
        for (const [name, version, records] of before) {
          const table = memory.tables.get(name)
          if (table === undefined) continue
          table.version = version
          for (const [key, record] of records) table.records.set(key, record)
        }
        for (const listener of memory.returned) listener()
      }
    },
    all: <Data>(queue: QueueName) => [...jobsOf(memory, queue).values()].map((job) => stored<Data>(job)),
  }
}

function createProcess(memory: Memory): MemoryProcess {
  const life = new AbortController()
  const mine = new Set<symbol>()
  const reach = async () => {
    if (memory.away || life.signal.aborted) throw new SluiceError('QUEUE_AWAY')
  }

  const ledger = createMemoryLedger(memory.books, (queue) => jobsOf(memory, queue), reach)

  return {
    kind: 'embedded',
    ledger,
    durability: 'process',
    describe: 'a double in memory',
    get trouble() {
      return memory.away ? 'the queue is away' : undefined
    },
    store: storeOf(memory, reach),
    ping: reach,
    memo: (owner) => ({
      async read() {
        await reach()
        const text = memory.store.get(`memo/${owner}`)
        return text === undefined ? undefined : (JSON.parse(text) as unknown)
      },
      async write(value) {
        await reach()
        memory.store.set(`memo/${owner}`, textOf(value))
      },
    }),
    die() {
      life.abort()
      for (const jobs of memory.queues.values()) release(jobs, mine)
    },
    async close() {
      life.abort()
    },
    async add(queue, jobs) {
      await reach()
      for (const { id, data, entering } of jobs) {
        if (/^\d+$|:/.test(id)) throw new Error(`not a job id: ${id}`)
        if (jobsOf(memory, queue).has(id)) continue
        const job: Held = {
          id,
          number: (memory.added += 1),
          at: Date.now(),
          text: textOf(data),
          deaths: 0,
          state: 'waiting',
          dueAt: 0,
          holder: undefined,
        }
        jobsOf(memory, queue).set(id, job)
        if (entering !== undefined) ledger.added(queue, id, entering)
      }
    },
    async counts(queue) {
      await reach()
      const all = [...promoted(memory, queue).values()]
      const count = (state: Held['state']) => all.filter((job) => job.state === state).length
      return { waiting: count('waiting'), active: count('active'), delayed: count('delayed') }
    },
    async peek<Data>(queue: QueueName, start: number, count: number) {
      await reach()
      const found = waiting(memory, queue).slice(start, start + count)
      return found.map((job) => stored<Data>(job))
    },
    // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- what a queue holds is known to its reader only
    async page<Data>(queue: QueueName, from: string | undefined, count: number) {
      await reach()
      const behind = waiting(memory, queue).filter(
        ({ number }) => number > (/^\d+$/.test(from ?? '') ? Number(from) : 0),
      )
      return behind.slice(0, count).map((job) => ({ ...stored<Data>(job), cursor: String(job.number) }))
    },
    async get<Data>(queue: QueueName, id: string) {
      await reach()
      const job = jobsOf(memory, queue).get(id)
      return job === undefined ? undefined : stored<Data>(job)
    },
    async remove(queue, ids, became) {
      await reach()
      if (became !== undefined)
        await ledger.leave(
          queue,
          ids.map((id) => ({ id, leaving: leavingOf(became) })),
        )
      const there = ids.filter((id) => promoted(memory, queue).get(id)?.state === 'waiting')
      for (const id of there) jobsOf(memory, queue).delete(id)
      return there.length
    },
    async sizes(owners) {
      await reach()
      const sizeOf = (owner: string) => {
        const jobs = [...memory.queues]
          .filter(([key]) => key.startsWith(`${owner}/`))
          .flatMap(([, all]) => [...all.values()])
        const dead = [...(memory.queues.get(`${owner}/dead`)?.values() ?? [])]
        const deadBytes = dead.reduce((sum, { text }) => sum + text.length, 0)
        return { jobs: jobs.length, deadBytes, bytes: jobs.reduce((sum, { text }) => sum + text.length, 0) }
      }
      return new Map(owners.map((owner) => [owner, sizeOf(owner)]))
    },
    async room() {
      await reach()
      return { bytes: memory.room, left: memory.left, what: 'a double in memory' }
    },
    async owners() {
      await reach()
      const full = [...memory.queues].filter(([, jobs]) => jobs.size > 0)
      return [...new Set(full.map(([key]) => key.slice(0, key.lastIndexOf('/'))))]
    },
    consume<Data>(queue: QueueName, handler: Handler<Data>, { concurrency }: { concurrency: number }) {
      return consume(queue, handler as Handler<unknown>, concurrency)
    },
  }

  function consume(queue: QueueName, handler: Handler<unknown>, concurrency: number): Consumer {
    const ending = new AbortController()
    const running = new Set<Promise<void>>()
    const holders = new Set<symbol>()
    let paused = false
    const timer = setInterval(take, 1)
    const end = () => {
      clearInterval(timer)
      ending.abort()
    }
    life.signal.addEventListener('abort', end)

    return {
      pause: () => void (paused = true),
      resume: () => void (paused = false),
      async close(deadlineMs) {
        clearInterval(timer)
        const patience = new AbortController()
        const deadline = sleep(deadlineMs, undefined, { signal: patience.signal }).catch(() => {})
        await Promise.race([Promise.all(running), deadline])
        patience.abort()
        end()
        release(jobsOf(memory, queue), holders)
      },
    }

    function take(): void {
      if (paused || memory.away) return
      for (const job of waiting(memory, queue).slice(0, concurrency - running.size)) {
        const holder = Symbol(job.id)
        mine.add(holder)
        holders.add(holder)
        Object.assign(job, { state: 'active', holder })
        const task = perform(job, holder).finally(() => running.delete(task))
        running.add(task)
      }
    }

    async function perform(job: Held, holder: symbol): Promise<void> {
      const holds = () => job.holder === holder
      const { id, at, deaths, text } = job
      const handed: Job<unknown> = {
        id,
        at,
        deaths,
        data: JSON.parse(text),
        async update(data) {
          await reach()
          if (holds()) job.text = textOf(data)
        },
      }
      const handled = await handler(handed, ending.signal).catch((): Handled<unknown> => ({
        kind: 'again',
        data: JSON.parse(job.text),
        afterMs: 20,
      }))
      if (!holds()) return
      const jobs = jobsOf(memory, queue)
      if (handled.kind === 'done' && handled.tally !== undefined)
        await ledger.leave(queue, [{ id, leaving: { tally: handled.tally, at } }])
      jobs.delete(id)
      if (handled.kind === 'done') return
      const dueAt = Date.now() + handled.afterMs
      jobs.set(id, Object.assign(job, { text: textOf(handled.data), state: 'delayed', dueAt, holder: undefined }))
    }
  }
}

function storeOf(memory: Memory, reach: () => Promise<void>): Store {
  const { store, leases } = memory
  return {
    async get<Value>(key: string) {
      await reach()
      const text = store.get(key)
      return text === undefined ? undefined : (JSON.parse(text) as Value)
    },
    async set(key, value) {
      await reach()
      store.set(key, textOf(value))
    },
    async delete(key) {
      await reach()
      store.delete(key)
    },
    async lease(key, holder, ms) {
      await reach()
      const lease = leases.get(key)
      if (lease !== undefined && lease.holder !== holder && lease.until > Date.now()) return false
      leases.set(key, { holder, until: Date.now() + ms })
      return true
    },
    async release(key, holder) {
      await reach()
      if (leases.get(key)?.holder === holder) leases.delete(key)
    },
    table: (name) => tableOf(memory, name, reach),
    onReturn: (listener) => void memory.returned.push(listener),
  }
}

function tableOf({ tables }: Memory, name: string, reach: () => Promise<void>): Table {
  const table = tables.get(name) ?? { version: 0, records: new Map() }
  tables.set(name, table)
  const { records } = table
  return {
    async put(key, value, ifVersion) {
      await reach()
      const old = records.get(key)
      if (ifVersion !== undefined && ifVersion !== (old?.text === undefined ? 0 : old.version)) return undefined
      records.delete(key)
      table.version += 1
      records.set(key, { version: table.version, text: value === undefined ? undefined : JSON.stringify(value) })
      return table.version
    },
    async since<Value>(version: number, limit = 1000): Promise<readonly Change<Value>[]> {
      await reach()
      const newer = [...records].filter(([, record]) => record.version > version).slice(0, limit)
      return newer.map(([key, { version, text }]) => ({
        key,
        version,
        value: text === undefined ? undefined : (JSON.parse(text) as Value),
      }))
    },
  }
}

/** Jobs in these hands wait again, at the head, as after a death. */
function release(jobs: Map<string, Held>, holders: ReadonlySet<symbol>): void {
  for (const job of jobs.values()) {
    if (job.holder === undefined || !holders.has(job.holder)) continue
    Object.assign(job, { state: 'waiting', holder: undefined, deaths: job.deaths + 1 })
  }
}

function waiting(memory: Memory, queue: QueueName): readonly Held[] {
  return [...promoted(memory, queue).values()].filter((job) => job.state === 'waiting')
}

function promoted(memory: Memory, queue: QueueName): Map<string, Held> {
  const jobs = jobsOf(memory, queue)
  for (const job of jobs.values()) if (job.state === 'delayed' && job.dueAt <= Date.now()) job.state = 'waiting'
  return jobs
}

function jobsOf({ queues }: Memory, { owner, part }: QueueName): Map<string, Held> {
  const key = `${owner}/${part}`
  const jobs = queues.get(key) ?? new Map<string, Held>()
  queues.set(key, jobs)
  return jobs
}

function stored<Data>(job: Held): StoredJob<Data> {
  return { id: job.id, at: job.at, data: JSON.parse(job.text) as Data }
}

/** JSON that Postgres' jsonb would take as well: no U+0000, no lone surrogate. */
function textOf(data: unknown): string {
  const text = JSON.stringify(data)
  if (/\\u0000|\\ud[89a-f]/i.test(text)) throw new Error('the data has text that a queue cannot hold')
  return text
}
