import type { Envelope } from '../core/envelope.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Job } from '../core/queue.ts'

/** Stores what is still undelivered of an envelope while the rest of it is being sent. */
export interface Progress {
  /** Something was delivered: store it within the interval, unless the envelope is finished before. */
  noted(): void
  /** Ends it; resolves when nothing more is being written. */
  ended(): Promise<void>
}

/**
 * An envelope that is quick is written once, when it is finished. One in which some batch is slow is written meanwhile, at
 * most once an interval, so that a death sends little of it twice. A write that fails is no harm: the next one, or
 * the end of the envelope, says the same.
 */
export function createProgress(job: Job<Envelope>, snapshot: () => Envelope, intervalMs: number, log: Log): Progress {
  let timer: NodeJS.Timeout | undefined
  let writing: Promise<void> = Promise.resolve()
  let over = false

  return {
    noted() {
      if (over) return
      timer ??= setTimeout(write, intervalMs)
    },
    async ended() {
      over = true
      clearTimeout(timer)
      await writing
    },
  }

  function write(): void {
    writing = job
      .update(snapshot())
      .catch((error: unknown) => log.debug({ error: messageOf(error) }, 'progress could not be stored'))
      .finally(() => (timer = undefined))
  }
}
