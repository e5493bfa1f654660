import type { Redis } from 'ioredis'
import type { QueueName, QueueRoom, QueueSize } from '../core/queue.ts'
import { bullNameOf } from './names.ts'
import { isReplyError } from './redis-error.ts'
import { infoOf } from './redis-info.ts'

/** What a job takes beside its data: its hash, its options, its place in a list (measured on Redis 7.0: about 700 bytes). */
const bytesPerJob = 720

/** Jobs of a queue that are looked at per measurement, and of how many the mean is taken. A queue seen first is looked at more closely. */
const sampledAtOnce = 16
const sampledFirst = 64
const samplesKept = 256

/** Where nothing can be sampled: a job of some messages. */
const assumedBytes = 4_096

/** A part of Redis' memory that is left free: taking a job out needs some, and so do replicas and rewrites. */
const share = 0.9

/** Sizes of jobs in one queue, the newest samples. Those of what has long gone say nothing, so a queue that was empty begins anew. */
interface Samples {
  sizes: number[]
}

/**
 * Measures queues: counts are exact and cheap (LLEN, ZCARD), sizes are those of some jobs at random places (LINDEX, HSTRLEN), as ingest's
 * Redis user may. Three round trips for all owners together.
 */
export class RedisSizes {
  readonly #redis: Redis
  readonly #samples = new Map<string, Samples>()
  /** This user may not ask for sizes. */
  #refused = false

  constructor(redis: Redis) {
    this.#redis = redis
  }

  async of(owners: readonly string[], parts: readonly QueueName['part'][]): Promise<ReadonlyMap<string, QueueSize>> {
    const queues = owners.flatMap((owner) => parts.map((part) => ({ owner, part, key: keyOf({ owner, part }) })))
    const counts = await this.#pipe(
      queues.flatMap(({ key, part }) => [
        ['llen', `${key}:wait`],
        ['llen', part === 'dead' ? `${key}:wait` : `${key}:active`],
        ['zcard', `${key}:delayed`],
      ]),
    )
    const counted = queues.map((queue, index) => {
      const [waiting = 0, active = 0, delayed = 0] = counts.slice(index * 3, index * 3 + 3).map(Number)
      return { ...queue, waiting, jobs: waiting + delayed + (queue.part === 'dead' ? 0 : active) }
    })
    await this.#sample(counted.filter(({ waiting }) => waiting > 0))
    const sizes = new Map(owners.map((owner) => [owner, { jobs: 0, bytes: 0, deadBytes: 0 }]))
    for (const { owner, part, key, jobs } of counted) {
      const size = sizes.get(owner)
      if (size === undefined || jobs === 0) {
        this.#samples.delete(key)
        continue
      }
      size.jobs += jobs
      const bytes = Math.round(jobs * (bytesPerJob + meanOf(this.#samples.get(key)?.sizes)))
      size.bytes += bytes
      if (part === 'dead') size.deadBytes += bytes
    }
    return sizes
  }

  async #sample(queues: readonly { readonly key: string; readonly waiting: number }[]): Promise<void> {
    if (this.#refused || queues.length === 0) return
    const places = queues.flatMap(({ key, waiting }) =>
      Array.from({ length: Math.min(this.#samples.has(key) ? sampledAtOnce : sampledFirst, waiting) }, () => ({
        key,
        place: Math.floor(Math.random() * waiting),
      })),
    )
    const ids = await this.#pipe(places.map(({ key, place }) => ['lindex', `${key}:wait`, place]))
    const found = places.flatMap(({ key }, index) => (typeof ids[index] === 'string' ? [{ key, id: ids[index] }] : []))
    try {
      const lengths = await this.#pipe(found.map(({ key, id }) => ['hstrlen', `${key}:${id}`, 'data']))
      for (const [index, { key }] of found.entries()) this.#keep(key, Number(lengths[index]))
    } catch (error) {
      if (!isReplyError(error)) throw error
      // A user of an older template: sizes are assumed, and what Redis holds in all still counts.
      this.#refused = true
    }
  }

  #keep(key: string, bytes: number): void {
    const samples = this.#samples.get(key) ?? { sizes: [] }
    this.#samples.set(key, samples)
    // A job that went in between has no length.
    if (bytes > 0) samples.sizes.push(bytes)
    if (samples.sizes.length > samplesKept) samples.sizes.shift()
  }

  async #pipe(commands: readonly (readonly (string | number)[])[]): Promise<readonly unknown[]> {
    if (commands.length === 0) return []
    const answers = (await this.#redis.pipeline(commands.map((command) => [...command])).exec()) ?? []
    return answers.map(([error, value]) => {
      if (error !== null) throw error
      return value
    })
  }
}

/** What Redis says of its memory. Without `maxmemory` half of the machine's is taken for it: it would take all, and be killed. */
export async function roomInRedis(redis: Redis): Promise<QueueRoom> {
  const info = infoOf(await redis.info('memory'))
  const [limit, used, machine] = ['maxmemory', 'used_memory', 'total_system_memory'].map((name) =>
    Number(info.get(name) ?? 0),
  )
  if (limit !== undefined && limit > 0)
    return { bytes: limit, left: limit * share - (used ?? 0), what: 'maxmemory of Redis' }
  const whole = machine === undefined || machine === 0 ? Number.MAX_SAFE_INTEGER : machine
  return {
    bytes: Math.round(whole / 2),
    unbounded: true,
    left: whole * share - (used ?? 0),
    what: 'half of the memory of Redis’ machine, because Redis has no maxmemory',
  }
}

function keyOf(queue: QueueName): string {
  const { prefix, name } = bullNameOf(queue)
  return `${prefix}:${name}`
}

function meanOf(sizes: readonly number[] = []): number {
  return sizes.length === 0 ? assumedBytes : sizes.reduce((sum, size) => sum + size, 0) / sizes.length
}
