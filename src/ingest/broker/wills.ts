import { setTimeout as delay } from 'node:timers/promises'
import type { Accept, Publish, Speaker } from '../../core/access.ts'
import type { BrokerLimits } from './limits.ts'

/**
 * Last wills on their way through accept. The client that left them is gone, so nobody will send them again: while the queue
 * is away they wait here, bounded by number and age.
 */
export class Wills {
  readonly #accept: Accept
  readonly #limits: BrokerLimits
  readonly #dropped: (reason: 'will') => void
  readonly #stop = new AbortController()
  readonly #pending = new Set<Promise<boolean>>()

  constructor(accept: Accept, limits: BrokerLimits, dropped: (reason: 'will') => void) {
    this.#accept = accept
    this.#limits = limits
    this.#dropped = dropped
  }

  /** Resolves to true when the will is durable and may be handed to subscribers, to false when it was refused or given up. */
  publish(speaker: Speaker, will: Publish): Promise<boolean> {
    if (this.#pending.size >= this.#limits.wills) {
      this.#dropped('will')
      return Promise.resolve(false)
    }
    const done = this.#try(speaker, will).finally(() => this.#pending.delete(done))
    this.#pending.add(done)
    return done
  }

  /** Waits for those on their way; after `deadlineMs` gives them up. */
  async close(deadlineMs: number): Promise<void> {
    const all = Promise.all(this.#pending)
    const cut = setTimeout(() => this.#stop.abort(), deadlineMs)
    await all.finally(() => clearTimeout(cut))
  }

  async #try(speaker: Speaker, will: Publish): Promise<boolean> {
    const end = performance.now() + this.#limits.willMs
    for (;;) {
      const accepted = await this.#accept(speaker, will)
      if (accepted.kind !== 'later') return accepted.kind === 'accepted'
      const waited = delay(accepted.afterMs, true, { signal: this.#stop.signal }).catch(() => false)
      if (performance.now() < end && (await waited)) continue
      this.#dropped('will')
      return false
    }
  }
}
