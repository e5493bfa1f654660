import { setTimeout as wait } from 'node:timers/promises'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'

interface Part {
  readonly name: string
  readonly weight: number
  close(deadlineMs: number): Promise<void>
}

/** What is thrown into a start that a stop has overtaken: nothing more is to be started. */
export class Stopping extends Error {
  override readonly name = 'Stopping'
  constructor() {
    super('stopped while starting')
  }
}

/** Of its share, what a part is told; the rest is for acting on the deadline. */
const told = 0.8

/**
 * Parts in the order of their start; stopped in reverse, all within one deadline, so that doors close before the queue
 * they feed. A part that fails to stop, or does not, is logged and does not keep the others from stopping.
 */
export class Lifecycle {
  readonly #parts: Part[] = []
  readonly #log: Log
  #stopping: Promise<void> | undefined

  constructor(log: Log) {
    this.#log = log
  }

  get isStopping(): boolean {
    return this.#stopping !== undefined
  }

  /**
   * Remembers how to stop what has just been started. `close` gets the milliseconds it has: of what is left when its turn
   * comes, its share by `weight` among those still to stop. While stopping, the part is closed at once and Stopping thrown.
   */
  add(name: string, close: (deadlineMs: number) => Promise<void> | void, weight = 1): void {
    const part: Part = { name, weight, close: async (deadlineMs) => close(deadlineMs) }
    this.#parts.push(part)
    if (this.#stopping === undefined) return
    this.#stopping = Promise.all([this.#stopping, this.#close(part, 1_000)]).then(() => undefined)
    throw new Stopping()
  }

  /** Stops everything; a second call joins the first. */
  stop(deadlineMs: number): Promise<void> {
    this.#stopping ??= this.#stop(performance.now() + deadlineMs)
    return this.#stopping
  }

  async #stop(end: number): Promise<void> {
    const parts = this.#parts.toReversed()
    for (const [index, part] of parts.entries()) {
      const weights = parts.slice(index).reduce((sum, { weight }) => sum + weight, 0)
      await this.#close(part, (Math.max(end - performance.now(), 0) * part.weight) / weights)
    }
  }

  async #close(part: Part, shareMs: number): Promise<void> {
    const patience = new AbortController()
    try {
      const late = wait(shareMs, 'late' as const, { signal: patience.signal }).catch(() => 'late' as const)
      if ((await Promise.race([part.close(shareMs * told), late])) === 'late')
        this.#log.warn({ part: part.name }, 'did not stop in time')
    } catch (error) {
      this.#log.warn({ part: part.name, error: messageOf(error) }, 'did not stop cleanly')
    } finally {
      patience.abort()
    }
  }
}
