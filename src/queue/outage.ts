import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'

/** While something is away it is said again this often, not at every attempt. */
const repeatMs = 60_000

/** Says that something went away, now and then that it still is, and that it is back: never a line per attempt. */
export class Outage {
  readonly #log: Log
  readonly #what: string
  readonly #now: () => number
  #since: number | undefined
  #said = 0
  #errors = 0

  constructor(log: Log, what: string, now: () => number = () => performance.now()) {
    this.#log = log
    this.#what = what
    this.#now = now
  }

  /** Something failed because it is away. */
  down(error: unknown): void {
    const now = this.#now()
    this.#errors += 1
    if (this.#since !== undefined && now - this.#said < repeatMs) return
    const facts = { error: messageOf(error), errors: this.#errors }
    this.#log.warn(
      facts,
      this.#since === undefined ? `${this.#what} is away; trying on` : `${this.#what} is still away`,
    )
    this.#since ??= now
    this.#said = now
  }

  up(): void {
    if (this.#since === undefined) return
    const awayMs = Math.round(this.#now() - this.#since)
    this.#log.info({ awayMs, errors: this.#errors }, `${this.#what} is back`)
    this.#since = undefined
    this.#errors = 0
  }
}
