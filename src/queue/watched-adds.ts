import { messageOf } from '../core/errors.ts'
import type { NewJob, QueueName, Queues } from '../core/queue.ts'

/** An add that takes longer than this is one of a store that hangs, for who asks before it adds. */
const slowMs = 1_000
/** Between two looks whether a store that failed takes adds again. */
const againMs = 1_000

/**
 * Adds to a store and remembers how that went, so that who wants to add to several can ask before it adds to the first. A store whose
 * connection is gone is known by that; one that hangs or refuses, by an add that failed or that takes too long, until it takes a write.
 */
export class WatchedAdds {
  readonly #queues: Pick<Queues, 'add' | 'ping' | 'trouble'>
  #failed: string | undefined
  #again: NodeJS.Timeout | undefined
  #closed = false

  constructor(queues: Pick<Queues, 'add' | 'ping' | 'trouble'>) {
    this.#queues = queues
  }

  /** Why an add would fail now; undefined: nothing is known against it. */
  get trouble(): string | undefined {
    return this.#queues.trouble ?? this.#failed
  }

  async add(queue: QueueName, jobs: readonly NewJob[]): Promise<void> {
    const slow = setTimeout(() => this.#fail('it does not answer'), slowMs)
    try {
      await this.#queues.add(queue, jobs)
      this.#failed = undefined
    } catch (error) {
      this.#fail(messageOf(error))
      throw error
    } finally {
      clearTimeout(slow)
    }
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#again)
  }

  #fail(because: string): void {
    this.#failed = because
    clearTimeout(this.#again)
    if (!this.#closed) this.#again = setTimeout(() => void this.#look(), againMs).unref()
  }

  async #look(): Promise<void> {
    try {
      await this.#queues.ping()
      this.#failed = undefined
    } catch (error) {
      this.#fail(messageOf(error))
    }
  }
}
