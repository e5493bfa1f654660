import { mostTogether, type PublishRate } from '../core/publish-rate.ts'

/** What one principal may publish. Both figures allow a burst of one second, and what comes in one request in any case. */
export interface RateLimits extends PublishRate {
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
   * Takes tokens for messages that come together, one or a whole request; 0 when they may go on, else the milliseconds until
   * they could. They go when no debt is left, however many they are, and leave one where they are more than is there: a request
   * is neither cut in two nor kept waiting for ever by small ones that slip in before it, and what comes in over time is the same.
   */
  take(principal: string, bytes: number, messages = 1): number {
    const bucket = this.#refilled(principal)
    const wait = this.#wait(bucket, bytes)
    if (wait > 0) return wait
    bucket.publishes -= messages
    bucket.bytes -= bytes
    return 0
  }

  /** Milliseconds until a principal could publish so many bytes, however many; 0 where it could now. Takes nothing. */
  waitMs(principal: string, bytes: number): number {
    return this.#wait(this.#refilled(principal), bytes)
  }

  /** Why these are too many to come together, now or later; undefined where they aren't. */
  complain(messages: number, bytes: number): string | undefined {
    const { publishesPerSecond, bytesPerSecond } = this.#limits
    const most = mostTogether(this.#limits)
    if (messages > most.messages)
      return `${messages} messages are more than the ${most.messages} that may come in one request at ${publishesPerSecond} a second (limits.publishesPerSecond)`
    // A message on its own is for the limit of a payload to judge.
    if (bytes <= most.bytes || messages === 1) return undefined
    return `payloads of ${bytes} bytes are more than the ${most.bytes} that may come in one request at ${bytesPerSecond} bytes a second (limits.bytesPerSecond)`
  }

  #wait(bucket: Bucket, bytes: number): number {
    const missing = Math.max(
      (1 - bucket.publishes) / this.#limits.publishesPerSecond,
      (Math.min(bytes, 1) - bucket.bytes) / this.#limits.bytesPerSecond,
    )
    return Math.max(0, Math.ceil(missing * 1000))
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
    const { publishesPerSecond, bytesPerSecond } = this.#limits
    for (const [principal, { publishes, bytes, at }] of this.#buckets) {
      const seconds = (now - at) / 1000
      const isFull =
        publishes + seconds * publishesPerSecond >= this.#burst && bytes + seconds * bytesPerSecond >= bytesPerSecond
      if (isFull) this.#buckets.delete(principal)
    }
  }
}
