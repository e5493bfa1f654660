import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { decodeName, encodeName, ownerOfKey } from './names.ts'
import { isReplyError } from './redis-error.ts'
import type { RedisLink } from './redis-link.ts'

const ownersKey = '{sluice}:owners'

/**
 * Matches the keys that a queue with jobs has (`wait`, `active`, `delayed`), and hardly any job: Redis then hands over a name per
 * queue and not one per job.
 */
const queueKeys = '{sluice:*}:*:[adw][aec][ilt]*'

/** Keys that Redis looks at per call of SCAN: under a millisecond of its time. */
const keysPerCall = 1_000

/** How often the keys are gone through although nothing looks wrong: whoever deletes the register does so behind our back. */
const lookAgainMs = 300_000

/** For how long an owner isn't written down again: where the register was lost without a word, it is whole again after that. */
const registeredMs = 10_000

/** How long somebody who asks for the owners waits for a pass over the keys; a large Redis takes longer, and the next one hears. */
const patienceMs = 1_500

/**
 * Who has queues in this Redis. There is a register, a set, so that nobody has to go through all keys; but Redis can go back
 * in time (an older file put back, a replica that knew less), so it is only an index of what is there: it is made anew from the keys
 * after every connect, and what is added to is written down again.
 */
export class RedisOwners {
  readonly #link: RedisLink
  readonly #log: Log
  readonly #registered = new Map<string, number>()
  #looking: Promise<void> | undefined
  /** When the keys were gone through last; undefined: not on this connection. */
  #looked: number | undefined
  #refused = false

  constructor(link: RedisLink, log: Log) {
    this.#link = link
    this.#log = log
    link.onReturn(() => this.#forget())
  }

  /** Before something is added to a queue of this owner. */
  async register(owner: string): Promise<void> {
    const now = performance.now()
    const since = this.#registered.get(owner)
    if (since !== undefined && now - since < registeredMs) return
    await this.#link.redis.sadd(ownersKey, encodeName(owner))
    this.#registered.set(owner, now)
  }

  /** All of them, in order. */
  async all(): Promise<readonly string[]> {
    let listed = await this.#list()
    // One that we have written down ourselves is missing: the register was lost.
    if ([...this.#registered.keys()].some((owner) => !listed.has(owner))) this.#forget()
    if (this.#looked === undefined || performance.now() - this.#looked > lookAgainMs) {
      await Promise.race([this.#look(), new Promise((resolve) => setTimeout(resolve, patienceMs).unref())])
      listed = await this.#list()
    }
    return [...listed].sort()
  }

  #forget(): void {
    this.#registered.clear()
    this.#looked = undefined
  }

  async #list(): Promise<ReadonlySet<string>> {
    return new Set((await this.#link.redis.smembers(ownersKey)).map(decodeName))
  }

  /** Several who ask share one pass. Never rejects: without it there is still the register. */
  #look(): Promise<void> {
    this.#looking ??= this.#goThroughKeys()
      .catch((error: unknown) => this.#complain(error))
      .finally(() => (this.#looking = undefined))
    return this.#looking
  }

  async #goThroughKeys(): Promise<void> {
    const { redis } = this.#link
    const began = performance.now()
    this.#looked = began
    const found = new Set<string>()
    let cursor = '0'
    do {
      const [next, keys] = await redis.scan(cursor, 'MATCH', queueKeys, 'COUNT', keysPerCall)
      cursor = next
      for (const key of keys) {
        const owner = ownerOfKey(key)
        if (owner !== undefined) found.add(owner)
      }
    } while (cursor !== '0')
    // Lost while we looked: again, the next time somebody asks.
    if (this.#looked !== began || found.size === 0) return
    const added = await redis.sadd(ownersKey, ...found)
    if (added > 0) this.#log.warn({ owners: added }, 'Redis has queues that its register did not name; it does now')
  }

  #complain(error: unknown): void {
    // With a restricted user that may not; the register alone counts then, until the next connect.
    if (isReplyError(error)) {
      if (!this.#refused)
        this.#log.warn(
          { error: messageOf(error) },
          'queues that the register in Redis does not name cannot be found: this user may not scan; allow +scan',
        )
      this.#refused = true
    } else this.#looked = undefined
  }
}
