import { keepNewest } from '../../core/keep-newest.ts'

/** How many failures one key may have at once and gets back in a minute. */
interface Bucket {
  left: number
  at: number
}

const minuteMs = 60_000
/** How deep failures that were under way together may take a bucket, in minutes of waiting: what is over is over some time. */
const debtMinutes = 5

/** Token buckets by key, at most `size` of them: the one that has failed longest ago makes room. Times are in milliseconds. */
export class Buckets {
  readonly #size: number
  readonly #buckets = new Map<string, Bucket>()

  constructor(size: number) {
    this.#size = size
  }

  get size(): number {
    return this.#buckets.size
  }

  /** Counts a failure; says whether there is room for another. `perMinute` is the key's limit. */
  take(key: string, perMinute: number, time: number): boolean {
    const left = Math.max(this.#left(key, perMinute, time) - 1, -debtMinutes * perMinute)
    this.#buckets.delete(key)
    this.#buckets.set(key, { left, at: time })
    keepNewest(this.#buckets, this.#size)
    return left >= 1
  }

  /** How long until there is room for a failure; 0 where there is. */
  wait(key: string, perMinute: number, time: number): number {
    return Math.max(Math.ceil(((1 - this.#left(key, perMinute, time)) * minuteMs) / perMinute), 0)
  }

  #left(key: string, perMinute: number, time: number): number {
    const bucket = this.#buckets.get(key)
    return bucket === undefined
      ? perMinute
      : Math.min(bucket.left + ((time - bucket.at) * perMinute) / minuteMs, perMinute)
  }
}
