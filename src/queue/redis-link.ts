import { Redis } from 'ioredis'
import { messageOf, QueueAwayError, SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { closedError, within } from './backend.ts'
import { Outage } from './outage.ts'
import { impatient, type Target } from './redis-options.ts'
import { complainAboutRedis, type SafetyOptions } from './redis-safety.ts'

type Verdict = 'unknown' | 'fine' | SluiceError

/** How long a start waits for the first word of a Redis that says nothing, not even that it isn't there. */
const firstWordMs = 2_000

/** The connection for adding and asking. It answers at once whether Redis can be used now, and looks at its settings after every connect. */
export class RedisLink {
  readonly redis: Redis
  readonly #timeoutMs: number
  readonly #safety: SafetyOptions
  readonly #log: Log
  readonly #outage: Outage
  readonly #heard = Promise.withResolvers<void>()
  #verdict: Verdict = 'unknown'
  #closed = false

  constructor(target: Target, label: string, timeoutMs: number, safety: SafetyOptions, log: Log) {
    this.#timeoutMs = timeoutMs
    this.#safety = safety
    this.#log = log
    this.#outage = new Outage(log, label)
    this.redis = new Redis(impatient(target, timeoutMs))
    // ioredis' CommonJS types know no better than `any` for listeners.
    this.redis.on('error', (error: unknown) => this.complain(error))
    this.redis.on('close', () => (this.#verdict = 'unknown'))
    this.redis.on('ready', () => void this.#judge())
  }

  /** Resolves when Redis was reached and is safe, or when it could not be reached; throws QUEUE_UNSAFE. */
  async firstWord(): Promise<void> {
    const late = () => new Error('late')
    await within(firstWordMs, this.#heard.promise, late).catch(() => {})
    if (this.#verdict instanceof SluiceError) throw this.#verdict
  }

  /** Something on some connection went wrong; said at a bounded rate. */
  complain(error: unknown): void {
    this.#heard.resolve()
    if (!this.#closed) this.#outage.down(error)
  }

  /** Runs `operation` if Redis is there and fit for use. Throws QueueAwayError, or SluiceError QUEUE_UNSAFE. */
  async attempt<T>(operation: () => Promise<T>): Promise<T> {
    if (this.#closed) throw closedError()
    if (this.#verdict instanceof SluiceError) throw this.#verdict
    if (this.#verdict !== 'fine' || this.redis.status !== 'ready')
      throw new QueueAwayError('Redis cannot be reached', false)
    try {
      // ioredis times its commands itself; this bounds what BullMQ does around them.
      const late = () => new QueueAwayError('Redis did not answer in time', true)
      return await within(this.#timeoutMs + 200, operation(), late)
    } catch (error) {
      if (error instanceof SluiceError) throw error
      throw new QueueAwayError(`Redis: ${messageOf(error)}`, !wasNotSent(error), { cause: error })
    }
  }

  close(): void {
    this.#closed = true
    this.redis.disconnect()
  }

  async #judge(): Promise<void> {
    try {
      const complaint = await complainAboutRedis(this.redis, this.#safety)
      this.#verdict = complaint === undefined ? 'fine' : new SluiceError('QUEUE_UNSAFE', complaint)
    } catch (error) {
      // The connection went away again; if Redis refused INFO, the next connect is no better and is said each time.
      if (isReplyError(error))
        this.#verdict = new SluiceError('QUEUE_UNSAFE', `Redis can't be checked: ${messageOf(error)}; allow +info`)
      else return this.complain(error)
    }
    this.#heard.resolve()
    this.#outage.up()
    if (this.#verdict instanceof SluiceError) this.#log.error({}, this.#verdict.message)
  }
}

/** Whether Redis itself said no. */
export function isReplyError(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError'
}

/** ioredis' error for a command that it had no connection to send on. */
function wasNotSent(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("Stream isn't writeable")
}
