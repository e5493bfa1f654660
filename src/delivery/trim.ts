import type { Envelope } from '../core/envelope.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Queues } from '../core/queue.ts'
import type { BacklogPolicy, OnDropped } from '../core/room.ts'
import { sumOfTallies, tallyOf } from '../core/tally.ts'
import { isEnvelope } from './readable.ts'

export interface TrimOptions {
  readonly worker: string
  readonly policy: BacklogPolicy
  readonly queues: Pick<Queues, 'sizes' | 'room' | 'page' | 'remove'>
  /** Bytes for all queues together, where the configuration says so. */
  readonly size?: number
  readonly onDropped: OnDropped
  readonly log: Log
  /** How often it looks, in milliseconds. A second. */
  readonly everyMs?: number
}

/** Down to this part of the bound, so that ingest, which stops at the bound, finds room. */
const trimTo = 0.9
const envelopesAtOnce = 16

const nothing = { jobs: 0, bytes: 0 }

/**
 * `whenFull: drop-oldest`: lets the oldest envelopes of a worker fall while its work and failures are near its bound. The worker does
 * that itself: only it may take from its queue. So with no worker running, what is new is refused. Gives what stops it.
 */
export function startTrimming(options: TrimOptions): () => void {
  const { worker, policy, queues, size, onDropped, log, everyMs = 1_000 } = options
  if (policy.whenFull !== 'drop-oldest') return () => {}
  const queue = { owner: worker, part: 'work' } as const
  const stop = new AbortController()
  let timer: NodeJS.Timeout | undefined
  schedule()
  return () => {
    stop.abort()
    clearTimeout(timer)
  }

  function schedule(): void {
    if (stop.signal.aborted) return
    timer = setTimeout(() => {
      void trim()
        .catch((error: unknown) => log.debug({ error: messageOf(error) }, 'the backlog could not be measured'))
        .finally(schedule)
    }, everyMs).unref()
  }

  async function trim(): Promise<void> {
    const { max } = policy
    const limit = 'bytes' in max ? max.bytes : (size ?? (await queues.room()).bytes) * max.share
    let dropped = 0
    while (!stop.signal.aborted) {
      // Measured each time: other processes of this worker let fall too, and it takes what it delivers.
      const { jobs, bytes } = (await queues.sizes([worker], ['work', 'failures'])).get(worker) ?? nothing
      const over = bytes - limit * trimTo
      if (over <= 0) break
      const count = Math.min(envelopesAtOnce, Math.ceil((over / bytes) * jobs))
      const oldest = await queues.page<Envelope>(queue, undefined, count)
      if (oldest.length === 0) break
      for (const { id, data } of oldest) {
        const { entries, left = [] } = isEnvelope(data) ? data : { entries: [] }
        const became = sumOfTallies(left, tallyOf(entries, 'dropped:full'))
        // One that is in hand by now is not dropped.
        if ((await queues.remove(queue, [id], isEnvelope(data) ? became : 'dropped:full')) === 0) continue
        onDropped({ owner: worker, reason: 'full', entries })
        dropped += entries.length
      }
    }
    if (dropped > 0)
      log.warn({ dropped }, 'the oldest messages were dropped: the backlog is full (whenFull: drop-oldest)')
  }
}
