import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { messageOf, QueueAwayError } from '../core/errors.ts'
import { infoOf, type Info } from './redis-info.ts'

export interface RedisFileOptions {
  /** Goes on without an append-only file. */
  readonly acceptLoss: boolean
  /** How long Redis may take to write what it has answered. */
  readonly writeMs: number
}

/** Before each further look, while Redis puts off its writing. The second is at once: mostly the write was just about to be made. */
const pausesMs = [0, 2, 4, 8, 16, 20]

interface Waiting {
  readonly until: number
  /** Where the file ends when it holds what is waited for, as the first look after it has it. */
  end: End | undefined
  resolve(): void
  reject(error: Error): void
}

interface End {
  readonly bytes: number
  /** Bytes that were in the file then, and in its base: it is another file now where it has fewer, or another base. */
  readonly from: number
  readonly base: string
}

/**
 * Tells when what Redis has answered is in its append-only file. Redis appends to a buffer in its memory, and writes that before it
 * answers; but under `appendfsync everysec` it puts the writing off while an fsync is under way, for up to two seconds, and answers all
 * the same (flushAppendOnlyFile in aof.c). Killed then, it has lost what was acknowledged. INFO tells how much is in the buffer and how
 * much in the file. One look serves all that wait, and mostly finds an empty buffer: a round trip more for each add, none for each message.
 */
export class RedisFile {
  readonly #redis: Redis
  readonly #options: RedisFileOptions
  #waiting: Waiting[] = []
  #isLooking = false
  /** Counts connections: what was answered on one that is gone was answered by a Redis that may have died since. */
  #connection = 0

  constructor(redis: Redis, options: RedisFileOptions) {
    this.#redis = redis
    this.#options = options
    redis.on('close', () => {
      this.#connection += 1
      for (const waiting of this.#waiting.splice(0)) waiting.reject(gone())
    })
  }

  /** Runs a write, and resolves when Redis has it in its file. Throws what the write throws, or QueueAwayError, in doubt. */
  async hold<T>(write: () => Promise<T>): Promise<T> {
    const connection = this.#connection
    const answer = await write()
    if (connection !== this.#connection) throw gone()
    await this.#written()
    return answer
  }

  #written(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#waiting.push({ until: performance.now() + this.#options.writeMs, end: undefined, resolve, reject })
    if (!this.#isLooking) void this.#look()
    return promise
  }

  async #look(): Promise<void> {
    this.#isLooking = true
    let looks = 0
    while (this.#waiting.length > 0) {
      const asking = this.#waiting
      this.#waiting = []
      const left = await this.#ask(asking)
      this.#waiting = [...left, ...this.#waiting]
      looks = left.length === 0 ? 0 : looks + 1
      const pauseMs = pausesMs[Math.min(looks, pausesMs.length) - 1] ?? 0
      if (pauseMs > 0) await sleep(pauseMs)
    }
    this.#isLooking = false
  }

  /** Looks once; gives those that have to wait on. */
  async #ask(asking: readonly Waiting[]): Promise<readonly Waiting[]> {
    try {
      const info = infoOf(await this.#redis.info('persistence'))
      if (info.get('aof_enabled') === '1') return asking.filter((waiting) => !this.#settle(waiting, info))
      if (!this.#options.acceptLoss) throw new Error('Redis keeps no append-only file any more')
      for (const waiting of asking) waiting.resolve()
    } catch (error) {
      const failure = new QueueAwayError(`Redis: ${messageOf(error)}`, true, { cause: error })
      for (const waiting of asking) waiting.reject(failure)
    }
    return []
  }

  /** Whether it is written, or can't be waited for any longer. */
  #settle(waiting: Waiting, info: Info): boolean {
    const buffered = Number(info.get('aof_buffer_length') ?? 0)
    const bytes = Number(info.get('aof_current_size') ?? 0)
    const base = info.get('aof_base_size') ?? ''
    const { end } = waiting
    const isSameFile = end !== undefined && end.base === base && bytes >= end.from
    // What was answered is older than the look: it is in an empty buffer's file. Others' writes need not be waited for.
    if (buffered === 0 || (isSameFile && bytes >= end.bytes)) {
      waiting.resolve()
    } else if (performance.now() > waiting.until) {
      waiting.reject(new QueueAwayError('Redis has not written it to its file in time', true))
    } else {
      if (!isSameFile) waiting.end = { bytes: bytes + buffered, from: bytes, base }
      return false
    }
    return true
  }
}

function gone(): QueueAwayError {
  return new QueueAwayError('Redis went away before it was known to have it in its file', true)
}
