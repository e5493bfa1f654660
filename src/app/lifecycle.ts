import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'

interface Part {
  readonly name: string
  close(deadlineMs: number): Promise<void>
}

/**
 * Parts in the order of their start; stopped in reverse, all within one deadline, so that doors close before the queue
 * they feed. A part that fails to stop is logged and does not keep the others from stopping.
 */
export class Lifecycle {
  readonly #parts: Part[] = []
  readonly #log: Log
  #stopping: Promise<void> | undefined

  constructor(log: Log) {
    this.#log = log
  }

  /** Remembers how to stop what has just been started. `close` gets the milliseconds that are left for it. */
  add(name: string, close: (deadlineMs: number) => Promise<void> | void): void {
    this.#parts.push({ name, close: async (deadlineMs) => close(deadlineMs) })
  }

  /** Stops everything; a second call joins the first. */
  stop(deadlineMs: number): Promise<void> {
    this.#stopping ??= this.#stop(performance.now() + deadlineMs)
    return this.#stopping
  }

  async #stop(end: number): Promise<void> {
    for (const part of this.#parts.toReversed()) {
      const left = Math.max(end - performance.now(), 250)
      const timer = Promise.withResolvers<'late'>()
      // The part was told the deadline; a second more for it to act on it, then we go on without it.
      const timeout = setTimeout(() => timer.resolve('late'), left + 1000)
      try {
        if ((await Promise.race([part.close(left), timer.promise])) === 'late')
          this.#log.warn({ part: part.name }, 'did not stop in time')
      } catch (error) {
        this.#log.warn({ part: part.name, error: messageOf(error) }, 'did not stop cleanly')
      } finally {
        clearTimeout(timeout)
      }
    }
  }
}
