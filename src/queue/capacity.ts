import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import { createPacedLog } from '../core/paced-log.ts'
import type { Queues, QueueRoom } from '../core/queue.ts'
import type { BacklogPolicy, Room } from '../core/room.ts'

export interface CapacityOptions {
  readonly queues: Pick<Queues, 'sizes' | 'room' | 'owners'>
  /** Owners that the configuration names; others are found in the store. */
  readonly owners: () => readonly string[]
  readonly policyOf: (owner: string) => BacklogPolicy
  /** Bytes for all queues together, where the configuration says so; by default what the store says. */
  readonly size?: number
  /** What the store is, for a publisher who is told that it is full; by default `the queue`. */
  readonly name?: string
  readonly log: Log
  readonly metrics: Metrics
  /** How often it measures. A second: what comes in meanwhile is added up. */
  readonly everyMs?: number
}

/** What an owner has in the queue and what it may have, in bytes, as measured last. */
export interface Backlog {
  readonly bytes: number
  readonly limit: number
  readonly jobs: number
  readonly full: boolean
}

/** From this part of a bound it is said that it comes near. */
const nearShare = 0.8
/** What was full has room again below this part of its bound: a worker that takes one envelope a second must not open and close a door. */
const openShare = 0.95
/** Where the oldest are dropped, down to this part. */
const dropTo = 0.9
/** Measured this much less often than it takes: the embedded queue goes through its table. */
const restFactor = 20
/** Between two lines about one owner. */
const pacedMs = 60_000

interface State {
  limit: number
  /** As measured last. */
  bytes: number
  jobs: number
  /** On its way in since that measurement began. */
  since: number
  /** What others added between the last two: several ingests share a bound, and each sees its own adds only. */
  others: number
  full: boolean
}

/**
 * Bounds what lies in the queue: each owner's share, and the store as a whole. What is there is measured again and again, so nothing
 * drifts; between two measurements what this process adds counts at once, and what others add as it was in the last interval.
 */
export class Capacity implements Room {
  readonly #options: CapacityOptions
  readonly #paced
  readonly #states = new Map<string, State>()
  /** Owners that may have no more. Empty: nobody has to look further. */
  readonly #full = new Set<string>()
  /** Why the store takes nothing at all. */
  #storeFull: string | undefined
  #room: QueueRoom | undefined
  /** On its way in for all owners since the last measurement. */
  #since = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: CapacityOptions) {
    this.#options = options
    this.#paced = createPacedLog(options.log, { lines: 1, intervalMs: pacedMs })
  }

  /** Measures once, and goes on. A store that is away is measured when it is back. */
  async start(): Promise<void> {
    const room = await this.#run()
    if (room === undefined) return
    const facts = { bytes: room.bytes, from: room.what }
    if (room.unbounded && this.#options.size === undefined)
      this.#options.log.warn(facts, 'room for queues is a guess: set maxmemory, or queue.size')
    else this.#options.log.info(facts, 'room for queues')
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  complain(owners: Iterable<string>): string | undefined {
    if (this.#storeFull !== undefined) return this.#storeFull
    if (this.#full.size === 0) return undefined
    for (const owner of owners)
      if (this.#full.has(owner) && !this.dropsNewest(owner)) return `the backlog of ${nameOf(owner)} is full`
    return undefined
  }

  dropsNewest(worker: string): boolean {
    return this.#full.has(worker) && this.#options.policyOf(worker).whenFull === 'drop-newest'
  }

  adding(owner: string, bytes: number): void {
    const state = this.#states.get(owner)
    this.#since += bytes
    if (state !== undefined) {
      state.since += bytes
      if (!state.full && state.bytes + state.others + state.since >= state.limit) this.#judge(owner, state)
    }
    if (this.#room !== undefined && this.#storeFull === undefined && this.#room.left <= this.#since) this.#judgeStore()
  }

  /** How many bytes an owner that is at its bound has beyond the part of it at which it has room again; 0 for others. */
  overBy(owner: string): number {
    const state = this.#states.get(owner)
    return state?.full === true ? Math.max(0, state.bytes - state.limit * dropTo) : 0
  }

  /** Undefined: not measured yet. */
  backlogOf(owner: string): Backlog | undefined {
    const state = this.#states.get(owner)
    return state && { bytes: state.bytes, limit: state.limit, jobs: state.jobs, full: state.full }
  }

  /** Measures now; never rejects. Gives the room that there is, where it could be measured. */
  async measure(): Promise<QueueRoom | undefined> {
    try {
      return await this.#measure()
    } catch (error) {
      this.#options.log.debug({ error: messageOf(error) }, 'the queues could not be measured')
      return undefined
    }
  }

  async #run(): Promise<QueueRoom | undefined> {
    const began = performance.now()
    const room = await this.measure()
    const { everyMs = 1_000 } = this.#options
    const wait = Math.max(everyMs, (performance.now() - began) * restFactor)
    if (!this.#closed) this.#timer = setTimeout(() => void this.#run(), wait).unref()
    return room
  }

  async #measure(): Promise<QueueRoom> {
    const { queues, owners, policyOf, size, metrics } = this.#options
    const all = [...new Set([...owners(), ...(await queues.owners())])]
    const before = new Map([...this.#states].map(([owner, { since }]) => [owner, since]))
    const sinceBefore = this.#since
    const sizes = await queues.sizes(all)
    const measured = await queues.room()
    // What was added while it was measured may be in it or not: it counts as not in.
    this.#since -= sinceBefore
    const room = { ...measured, bytes: size ?? measured.bytes }
    this.#room = room
    for (const owner of this.#states.keys()) if (!sizes.has(owner)) this.#forget(owner)
    for (const [owner, { bytes, jobs }] of sizes) {
      const old = this.#states.get(owner)
      const own = before.get(owner) ?? 0
      const { max } = policyOf(owner)
      const state: State = {
        limit: 'bytes' in max ? max.bytes : Math.round(room.bytes * max.share),
        bytes,
        jobs,
        since: (old?.since ?? own) - own,
        others: old === undefined ? 0 : Math.max(0, bytes - old.bytes - own),
        full: old?.full ?? false,
      }
      this.#states.set(owner, state)
      this.#judge(owner, state)
      metrics.set('sluice_worker_backlog_bytes', { worker: owner }, bytes)
      metrics.set('sluice_worker_backlog_limit_bytes', { worker: owner }, state.limit)
    }
    this.#judgeStore()
    return room
  }

  #judge(owner: string, state: State): void {
    const { log } = this.#options
    const taken = state.bytes + state.others + state.since
    const full = taken >= state.limit * (state.full ? openShare : 1)
    const facts = () => ({ owner, bytes: Math.round(taken), limit: state.limit })
    if (full && !state.full) {
      const { whenFull } = this.#options.policyOf(owner)
      const then = {
        refuse: 'what is for it is refused',
        'drop-oldest': 'its oldest messages are dropped',
        'drop-newest': 'what is new for it is dropped',
      }
      this.#paced.error(
        `full ${owner}`,
        { ...facts(), whenFull },
        `the backlog of ${nameOf(owner)} is full: ${then[whenFull]}`,
      )
      this.#full.add(owner)
    } else if (!full && state.full) {
      log.info(facts(), `the backlog of ${nameOf(owner)} has room again`)
      this.#full.delete(owner)
    }
    state.full = full
    if (!full && taken >= state.limit * nearShare)
      this.#paced.warn(`near ${owner}`, facts, `the backlog of ${nameOf(owner)} comes near its bound`)
  }

  #judgeStore(): void {
    const { log, name = 'the queue' } = this.#options
    if (this.#room === undefined) return
    const left = this.#room.left - this.#since
    const full = left <= (this.#storeFull === undefined ? 0 : this.#room.bytes * (1 - openShare) * 0.5)
    if (full && this.#storeFull === undefined) {
      this.#storeFull = `${name} has no room left`
      this.#paced.error(
        'store',
        { from: this.#room.what },
        `${name} has no room left: nothing is taken until some is worked off`,
      )
    } else if (!full && this.#storeFull !== undefined) {
      this.#storeFull = undefined
      log.info({ left: Math.round(left) }, `${name} has room again`)
    }
  }

  #forget(owner: string): void {
    this.#states.delete(owner)
    this.#full.delete(owner)
  }
}

function nameOf(owner: string): string {
  return owner.includes(':') ? owner.replace(':', ' ') : `worker ${owner}`
}
