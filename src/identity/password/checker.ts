import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { keepNewest } from '../../core/keep-newest.ts'
import { derive } from './derive.ts'
import type { ScryptHash } from './phc.ts'

/** Checks at once: each holds a thread of libuv's four and up to 128 MiB. */
const parallel = 2
/** Checks that wait for their turn: some three seconds of work. */
const maxWaiting = 100
/** Passwords that were right lately. */
const maxRemembered = 10_000
/** How long a right password is remembered, in milliseconds. */
const rememberedMs = 600_000

export interface PasswordCheckerOptions {
  readonly parallel?: number
  readonly maxWaiting?: number
  readonly maxRemembered?: number
}

/**
 * Compares passwords with hashes, a few at a time: scrypt is slow by design, and strangers decide how often it is asked for.
 *
 * A password that was right lately is right at once, so that HTTP Basic doesn't cost 60 ms a request. What is remembered is an HMAC
 * of principal, hash and password under a key that only this process has, and only for some minutes: with a changed hash it is
 * another HMAC.
 */
export class PasswordChecker {
  readonly #key = randomBytes(32)
  readonly #remembered = new Map<string, number>()
  readonly #waiting: (() => void)[] = []
  readonly #options: Required<PasswordCheckerOptions>
  #running = 0

  constructor(options: PasswordCheckerOptions = {}) {
    this.#options = { parallel, maxWaiting, maxRemembered, ...options }
  }

  /** How many checks run and wait now. */
  get busy(): number {
    return this.#running + this.#waiting.length
  }

  /** Whether this is the principal's password; undefined where too many wait already. `time` is in milliseconds since 1970. */
  async check(principal: string, expected: ScryptHash, password: Buffer, time: number): Promise<boolean | undefined> {
    const memory = this.#fingerprint(principal, expected, password)
    const since = this.#remembered.get(memory)
    if (since !== undefined && time - since < rememberedMs && time >= since) return true
    const hash = await this.#hash(expected, password)
    if (hash === undefined) return undefined
    const right = timingSafeEqual(hash, expected.hash)
    if (right) this.#remember(memory, time)
    return right
  }

  /** A number below `count` that is the same for a name as long as the process lives, and that nobody else can work out. */
  pick(name: string, count: number): number {
    return createHmac('sha256', this.#key).update('pick\0').update(name).digest().readUInt32BE(0) % count
  }

  /** Every password has to be checked again. */
  forget(): void {
    this.#remembered.clear()
  }

  async #hash(expected: ScryptHash, password: Buffer): Promise<Buffer | undefined> {
    if (this.#running >= this.#options.parallel) {
      if (this.#waiting.length >= this.#options.maxWaiting) return undefined
      // Whoever ends hands on its place.
      await new Promise<void>((go) => this.#waiting.push(go))
    } else this.#running += 1
    try {
      return await derive(password, expected, expected.hash.length)
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#running -= 1
      else next()
    }
  }

  #fingerprint(principal: string, { ln, r, p, salt, hash }: ScryptHash, password: Buffer): string {
    const about = JSON.stringify([principal, ln, r, p, salt.toString('base64'), hash.toString('base64')])
    return createHmac('sha256', this.#key).update(`${about}\0`).update(password).digest('base64')
  }

  #remember(memory: string, time: number): void {
    this.#remembered.delete(memory)
    this.#remembered.set(memory, time)
    keepNewest(this.#remembered, this.#options.maxRemembered)
  }
}
