import { Redis } from 'ioredis'
import { messageOf, QueueAwayError, SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { closedError, within } from './backend.ts'
import { Outage } from './outage.ts'
import { createPacedWarn } from './paced-warn.ts'
import { isReplyError, lacksCommand, takesNoWrites, wasNotSent } from './redis-error.ts'
import { impatient, type RedisAddress } from './redis-options.ts'
import { lookAtRedis, type SafetyOptions, type Seen } from './redis-safety.ts'

type Verdict = 'unknown' | 'fine' | SluiceError

/** How long a start waits for the first word of a Redis that says nothing, not even that it isn't there. */
const firstWordMs = 2_000

const denied =
  'this Redis user may not do all that Sluice does: give it its line of deploy/redis/users.acl, which may have changed'

/** Between two lines about that. An hour: nothing stops for it, and the ledger asks every five seconds. */
const deniedMs = 3_600_000

const cannotBeReached = 'Redis cannot be reached'

export interface LinkTimes {
  /** After this long without an answer a command has failed. */
  readonly timeoutMs: number
  /** After this long more a write that was answered is not written to Redis' file. */
  readonly writeMs: number
  /** How often the settings of a Redis that is there are looked at. */
  readonly lookMs: number
}

/** The connection for adding and asking. It answers at once whether Redis can be used now, and looks at its settings after every connect and every few seconds. */
export class RedisLink {
  readonly redis: Redis
  readonly #address: RedisAddress
  readonly #times: LinkTimes
  readonly #safety: SafetyOptions
  readonly #log: Log
  readonly #outage: Outage
  readonly #warn
  readonly #heard = Promise.withResolvers<void>()
  readonly #seen: Seen = { run: undefined, wasOff: false, wasFine: false }
  #verdict: Verdict = 'unknown'
  /** Where the verdict is `fine`: what the promise leaves out. */
  #exceptions: readonly string[] = []
  #lastError: string | undefined
  #lookAgain: NodeJS.Timeout | undefined
  #closed = false
  readonly #returned: (() => void)[] = []

  constructor(address: RedisAddress, times: LinkTimes, safety: SafetyOptions, log: Log) {
    this.#address = address
    this.#times = times
    this.#safety = safety
    this.#log = log
    this.#warn = createPacedWarn(log, deniedMs)
    this.#outage = new Outage(log, `Redis (${address.label})`)
    this.redis = new Redis(impatient(address.target, times.timeoutMs))
    // ioredis' CommonJS types know no better than `any` for listeners.
    this.redis.on('error', (error: unknown) => this.complain(error))
    this.redis.on('close', () => {
      clearTimeout(this.#lookAgain)
      this.#verdict = 'unknown'
    })
    this.redis.on('ready', () => void this.#look())
  }

  /** Resolves when Redis was reached and is safe, or when it could not be reached; throws QUEUE_UNSAFE. */
  async firstWord(): Promise<void> {
    const late = () => new Error('late')
    await within(firstWordMs, this.#heard.promise, late).catch(() => {})
    if (this.#verdict instanceof SluiceError) throw this.#verdict
  }

  /** Whether what is promised can be kept now, for people; `promise` says what that is. */
  standing(promise: string): string {
    if (this.#verdict instanceof SluiceError)
      return `${this.#promises ? 'takes nothing' : 'is worked off, and may lose messages'}: ${this.#verdict.message}`
    if (this.#verdict === 'unknown')
      return `cannot be reached${this.#lastError === undefined ? '' : `: ${this.#lastError}`}`
    return [promise, ...this.#exceptions].join('; but ')
  }

  /** Why nothing can be asked of it now; undefined: it can. */
  get trouble(): string | undefined {
    if (this.#verdict === 'unknown' || this.redis.status !== 'ready') return cannotBeReached
    return this.#verdict instanceof SluiceError && this.#promises ? this.#verdict.message : undefined
  }

  /**
   * Called after every connect to a Redis that can be used, before anything else is asked of it: it may have gone back in time
   * (an older file put back, a replica that has taken over), so what is remembered of it no longer counts.
   */
  onReturn(listener: () => void): void {
    this.#returned.push(listener)
  }

  /** Something on some connection went wrong; said at a bounded rate. */
  complain(error: unknown): void {
    this.#heard.resolve()
    this.#lastError = messageOf(error)
    if (!this.#closed) this.#outage.down(error)
  }

  /**
   * Runs `operation` if Redis is there and fit for use. Throws QueueAwayError; and for ingest, which promises something by what it adds,
   * SluiceError QUEUE_UNSAFE. A worker goes on: what it holds back is no safer there.
   */
  async attempt<T>(operation: () => Promise<T>): Promise<T> {
    if (this.#closed) throw closedError()
    if (this.#verdict instanceof SluiceError && this.#promises) throw this.#verdict
    if (this.#verdict === 'unknown' || this.redis.status !== 'ready') throw new QueueAwayError(cannotBeReached, false)
    try {
      // ioredis times its commands itself; this bounds what BullMQ does around them.
      const late = () => new QueueAwayError('Redis did not answer in time', true)
      return await within(this.#times.timeoutMs + this.#times.writeMs + 200, operation(), late)
    } catch (error) {
      const said = error instanceof QueueAwayError ? (error.cause ?? error) : error
      if (takesNoWrites(said)) this.#leave(said)
      // Whoever asked may say it to nobody: much is tried again and again in the background.
      if (lacksCommand(said)) this.#warn({ error: messageOf(said) }, denied)
      if (error instanceof SluiceError) throw error
      throw new QueueAwayError(`Redis: ${messageOf(error)}`, !wasNotSent(error), { cause: error })
    }
  }

  get #promises(): boolean {
    return this.#safety.role === 'ingest'
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#lookAgain)
    this.redis.disconnect()
  }

  /** The node takes no writes, and says so: asks the address anew. */
  #leave(error: unknown): void {
    this.complain(error)
    // Where it said so in answer to a command of ours the connection is on its way out already.
    if (this.redis.status === 'ready') this.redis.disconnect(true)
  }

  async #look(): Promise<void> {
    clearTimeout(this.#lookAgain)
    try {
      const { refusal, complaint, exceptions } = await lookAtRedis(this.redis, this.#safety, this.#seen)
      if (refusal === undefined) this.#judge(complaint, exceptions)
      else {
        this.#address.refused()
        this.#leave(new Error(`takes no writes: ${refusal}`))
      }
    } catch (error) {
      // The connection went away again, or it hangs; if Redis refused INFO, the next look is no better.
      if (isReplyError(error) && !takesNoWrites(error))
        this.#judge(`Redis can't be checked: ${messageOf(error)}; allow +info`)
      else this.complain(error)
    }
    if (this.#closed || this.redis.status !== 'ready') return
    clearTimeout(this.#lookAgain)
    this.#lookAgain = setTimeout(() => void this.#look(), this.#times.lookMs).unref()
  }

  #judge(complaint: string | undefined, exceptions: readonly string[] = []): void {
    if (this.redis.status !== 'ready') return
    const before = this.#verdict
    this.#heard.resolve()
    this.#outage.up()
    if (complaint !== undefined) {
      if (before instanceof SluiceError && before.message === complaint) return
      this.#verdict = new SluiceError('QUEUE_UNSAFE', complaint)
      return this.#log.error({}, complaint)
    }
    const fresh = exceptions.filter((exception) => !this.#exceptions.includes(exception))
    for (const exception of fresh) this.#log.warn({}, exception)
    this.#exceptions = exceptions
    this.#verdict = 'fine'
    if (before !== 'fine') for (const listener of this.#returned) listener()
    if (before instanceof SluiceError) this.#log.info({}, 'Redis is safe again')
  }
}
