/** What one principal may publish (AWS IoT: 100 publishes/s and 512 KiB/s per connection). Both allow a burst of one second, and of one message at least. */
export interface RateLimits {
  readonly publishesPerSecond: number
  readonly bytesPerSecond: number
  /** How many at once; by default those of one second. */
  readonly burst?: number
}

/** Principals whose bucket is kept at once; beyond that, full buckets are forgotten, which changes nothing for their owners. */
const kept = 10_000

interface Bucket {
  publishes: number
  bytes: number
  at: number
}

/** Two token buckets per principal. One loud device spends its own tokens and nobody else's. */
export class RateLimiter {
  readonly #limits: RateLimits
  readonly #now: () => number
  /** Under one publish a second, a bucket of one second's would never hold one. */
  readonly #burst: number
  readonly #buckets = new Map<string, Bucket>()

  constructor(limits: RateLimits, now: () => number = () => performance.now()) {
    this.#limits = limits
    this.#now = now
    this.#burst = limits.burst ?? Math.max(1, limits.publishesPerSecond)
  }

  /**
   * Takes tokens for one publish; 0 when it may go on, else the milliseconds until it could. A message larger than a
   * second's worth of bytes goes through when the bucket is full, and leaves a debt.
   */
  take(principal: string, bytes: number): number {
    const bucket = this.#refilled(principal)
    const wantedBytes = Math.min(bytes, this.#limits.bytesPerSecond)
    const missing = Math.max(
      (1 - bucket.publishes) / this.#limits.publishesPerSecond,
      (wantedBytes - bucket.bytes) / this.#limits.bytesPerSecond,
    )
    if (missing > 0) return Math.ceil(missing * 1000)
    bucket.publishes -= 1
    bucket.bytes -= bytes
    return 0
  }

  #refilled(principal: string): Bucket {
    const now = this.#now()
    const bucket = this.#buckets.get(principal)
    if (bucket === undefined) {
      if (this.#buckets.size >= kept) this.#forgetFull(now)
      const fresh = { publishes: this.#burst, bytes: this.#limits.bytesPerSecond, at: now }
      this.#buckets.set(principal, fresh)
      return fresh
    }
    const seconds = (now - bucket.at) / 1000
    bucket.publishes = Math.min(this.#burst, bucket.publishes + seconds * this.#limits.publishesPerSecond)
    bucket.bytes = Math.min(this.#limits.bytesPerSecond, bucket.bytes + seconds * this.#limits.bytesPerSecond)
    bucket.at = now
    return bucket
  }

  #forgetFull(now: number): void {
    const fullMs = (1000 * this.#burst) / this.#limits.publishesPerSecond
    for (const [principal, bucket] of this.#buckets)
      if (now - bucket.at > fullMs && bucket.bytes >= 0) this.#buckets.delete(principal)
  }
}
