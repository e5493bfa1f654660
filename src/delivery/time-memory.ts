import type { Clock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Memo } from '../core/queue.ts'
import { pause } from './pause.ts'
import { createSeenTime, type SeenTime } from './seen-time.ts'

/** How often it is written down: a note need only be fresh enough to tell a step from the time in which nobody was there. */
const everyMs = 30_000

const againMs = 1_000
const graceMs = 1_000

export interface TimeMemory {
  readonly time: SeenTime
  /** Resolves when it is known what the last start has seen; until then nothing is to be judged by it. Rejects never. */
  readonly recalled: Promise<void>
  /** Writes it down a last time; never waits long. */
  close(): Promise<void>
}

export interface TimeMemoryOptions {
  readonly clock: Clock
  readonly memo: Memo
  /** Aborts the reading, where the queue is away for as long as the worker runs. */
  readonly signal: AbortSignal
  readonly log: Log
}

/** A worker's seen time, kept from one start to the next. */
export function createTimeMemory({ clock, memo, signal, log }: TimeMemoryOptions): TimeMemory {
  let isRecalled = false
  const time = createSeenTime(clock, () => void write())
  const timer = setInterval(() => void write(), everyMs)
  timer.unref()

  return {
    time,
    recalled: recall(),
    async close() {
      clearInterval(timer)
      time.close()
      const patience = new AbortController()
      await Promise.race([write(), pause(graceMs, patience.signal)])
      patience.abort()
    },
  }

  /** With the queue away there is nothing to be judged either. */
  async function recall(): Promise<void> {
    while (!signal.aborted) {
      try {
        time.adopt(await memo.read())
        isRecalled = true
        return await write()
      } catch (error) {
        log.debug({ error: messageOf(error) }, 'what has passed before this start is not known yet')
        await pause(againMs, signal)
      }
    }
  }

  async function write(): Promise<void> {
    if (!isRecalled) return
    await memo
      .write(time.note())
      .catch((error: unknown) => log.debug({ error: messageOf(error) }, 'what has passed could not be written down'))
  }
}
