import { setTimeout as delay } from 'node:timers/promises'
import type { Accept, Publish, Speaker } from '../core/access.ts'

export interface UnattendedLimits {
  /** Messages that wait at once. */
  readonly most: number
  /** How long one waits, in milliseconds. */
  readonly ms: number
}

/**
 * Messages on their way through accept that nobody will send again: last wills, whose client is gone, and events of Sluice
 * itself. While the queue is away they wait here, bounded by number and age.
 */
export class Unattended {
  readonly #accept: Accept
  readonly #limits: UnattendedLimits
  readonly #dropped: () => void
  readonly #stop = new AbortController()
  readonly #pending = new Set<Promise<boolean>>()

  constructor(accept: Accept, limits: UnattendedLimits, dropped: () => void) {
    this.#accept = accept
    this.#limits = limits
    this.#dropped = dropped
  }

  /** Resolves to true when the message is durable and may be handed to subscribers, to false when it was refused or given up. */
  publish(speaker: Speaker, publish: Publish): Promise<boolean> {
    if (this.#pending.size >= this.#limits.most) {
      this.#dropped()
      return Promise.resolve(false)
    }
    const done = this.#try(speaker, publish).finally(() => this.#pending.delete(done))
    this.#pending.add(done)
    return done
  }

  /** Waits for those on their way; after `deadlineMs` gives them up. */
  async close(deadlineMs: number): Promise<void> {
    const all = Promise.all(this.#pending)
    const cut = setTimeout(() => this.#stop.abort(), deadlineMs)
    await all.finally(() => clearTimeout(cut))
  }

  async #try(speaker: Speaker, publish: Publish): Promise<boolean> {
    const end = performance.now() + this.#limits.ms
    for (;;) {
      const accepted = await this.#accept(speaker, publish)
      if (accepted.kind !== 'later') return accepted.kind === 'accepted'
      const waited = delay(accepted.afterMs, true, { signal: this.#stop.signal }).catch(() => false)
      if (performance.now() < end && (await waited)) continue
      this.#dropped()
      return false
    }
  }
}
