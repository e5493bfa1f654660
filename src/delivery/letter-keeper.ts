import type { Failure } from '../core/envelope.ts'
import { messageOf as textOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import type { Queues } from '../core/queue.ts'
import { deadLetterJob, deadOf } from './dead-letters.ts'
import type { DeadLetterJob } from './ingest-letters.ts'
import { isFailure } from './readable.ts'
import { type Standing, surplusOf } from './surplus.ts'

export interface LetterKeeperOptions {
  readonly queues: Queues
  /** Dead letters kept for an owner, 10,000. A rule that fails on everything must not fill the store. */
  readonly max?: number
  /** Their bytes, about 64 MiB: ten thousand of the largest messages would be a gigabyte. */
  readonly maxBytes?: number
  /** Whether these bounds hold for an owner; without it for all. Those of others are for whoever lets messages in. */
  readonly isBounded?: (owner: string) => boolean
  /** Told what goes into whose dead letters, before it does: bytes. */
  readonly adding?: (owner: string, bytes: number) => void
  readonly log: Log
  readonly metrics: Metrics
}

/**
 * Keeps dead letters that ingest writes itself: of rules that failed, and of bridges whose messages were refused. At a bound a
 * tenth goes at once, the oldest of those things (or topics) that have most: one device pushes out its own letters.
 */
export interface LetterKeeper {
  /** Resolves when the letter is durable among its owner's; rejects with QUEUE_AWAY. */
  keep(letter: DeadLetterJob): Promise<void>
}

interface Waiting {
  readonly job: DeadLetterJob
  resolve(): void
  reject(error: unknown): void
}

/** Letters of an owner since they were last looked through. */
interface Since {
  letters: number
  bytes: number
  counted: number
}

/** How many letters go in with one add, and are read at once. */
const most = 100
/** Of a bound, what is left when it was reached: looking through all letters costs, so that it must not be for every one. */
const left = 0.9

/**
 * What arrives while an add is on its way goes in with the next (a rule that fails on every message is as busy as ingest). Every
 * hundredth of `max` letters the count is looked at, because other ingests may add, too.
 */
export function createLetterKeeper(options: LetterKeeperOptions): LetterKeeper {
  const { queues, max = 10_000, maxBytes = 64 * 1024 * 1024, isBounded = () => true, log, metrics } = options
  const waiting = new Map<string, Waiting[]>()
  const since = new Map<string, Since>()

  return {
    keep(job) {
      return new Promise((resolve, reject) => {
        const line = waiting.get(job.owner)
        if (line !== undefined) return void line.push({ job, resolve, reject })
        waiting.set(job.owner, [{ job, resolve, reject }])
        void drain(job.owner)
      })
    },
  }

  async function drain(owner: string): Promise<void> {
    const line = waiting.get(owner) ?? []
    while (line.length > 0) await addSome(owner, line.splice(0, most))
    // INVARIANT: nothing waits between the last look at the line and this, so nobody is left in it.
    waiting.delete(owner)
  }

  async function addSome(owner: string, some: readonly Waiting[]): Promise<void> {
    options.adding?.(
      owner,
      some.reduce((sum, { job }) => sum + bytesOf(job.data), 0),
    )
    try {
      await queues.add(
        deadOf(owner),
        some.map(({ job }) => deadLetterJob(job.data, job.id)),
      )
    } catch (error) {
      for (const one of some) one.reject(error)
      return
    }
    for (const one of some) {
      const { job } = one
      one.resolve()
      metrics.count('sluice_dead_letters_total', { owner, kind: job.data.kind })
    }
    await bound(owner, some).catch((error: unknown) => log.debug({ owner, error: textOf(error) }, 'not bounded now'))
  }

  async function bound(owner: string, added: readonly Waiting[]): Promise<void> {
    if (!isBounded(owner)) return
    // Nothing is known of what was there before: the first letter looks.
    const known = since.get(owner) ?? { letters: max, bytes: maxBytes, counted: max }
    since.set(owner, known)
    known.letters += added.length
    known.counted += added.length
    known.bytes += added.reduce((sum, { job }) => sum + bytesOf(job.data), 0)
    if (known.counted >= max / 100) {
      known.counted = 0
      known.letters = (await queues.counts(deadOf(owner))).waiting
    }
    if (known.letters <= max && known.bytes <= maxBytes) return
    const all = await lookThrough(owner)
    const letters = all.length > max ? Math.floor(max * left) : max
    const room = { letters, bytes: sumOf(all) > maxBytes ? maxBytes * left : maxBytes }
    const surplus = surplusOf(all, room)
    const dropped = surplus.length === 0 ? 0 : await queues.remove(deadOf(owner), surplus, 'dropped:oldest')
    since.set(owner, { letters: all.length - dropped, bytes: Math.min(sumOf(all), room.bytes), counted: 0 })
    if (dropped === 0) return
    metrics.count('sluice_dead_letters_dropped_total', { owner }, dropped)
    log.warn({ owner, dropped, max, maxBytes }, 'the oldest dead letters were dropped: no more than this is kept')
  }

  async function lookThrough(owner: string): Promise<readonly Standing[]> {
    const all: Standing[] = []
    for (let from: string | undefined; ;) {
      const page = await queues.page<Failure>(deadOf(owner), from, most)
      const last = page.at(-1)
      if (last === undefined) return all
      from = last.cursor
      for (const { id, data } of page) {
        const source = isFailure(data) ? (data.entry.thing ?? data.entry.topic) : ''
        all.push({ id, source, bytes: isFailure(data) ? bytesOf(data) : 0 })
      }
    }
  }
}

function sumOf(letters: readonly Standing[]): number {
  return letters.reduce((sum, { bytes }) => sum + bytes, 0)
}

/** About what a letter takes: its texts, and as much again as an average one has around them. */
function bytesOf({ reason, entry }: Failure): number {
  const payload = typeof entry.in === 'object' ? entry.in.base64 : (entry.in ?? '')
  const properties = entry.properties === undefined ? 0 : JSON.stringify(entry.properties).length
  return 512 + payload.length + entry.topic.length + 2 * reason.length + properties
}
