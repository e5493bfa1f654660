import { randomUUID } from 'node:crypto'
import type { Failure } from '../core/envelope.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { PagedJob, Queues } from '../core/queue.ts'
import type { BacklogPolicy, DropReason, OnDropped } from '../core/room.ts'
import { deadOf } from './dead-letters.ts'
import { isFailure } from './readable.ts'

export interface KeepOptions {
  readonly queues: Pick<Queues, 'counts' | 'page' | 'remove' | 'sizes' | 'owners' | 'store'>
  readonly policyOf: (owner: string) => BacklogPolicy
  /** How many bytes are to go so that an owner is no longer at its bound; 0 where it isn't. */
  readonly overBy: (owner: string) => number
  readonly onDropped: OnDropped
  readonly log: Log
  /** How often it looks, in milliseconds. 5 s. */
  readonly everyMs?: number
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

/** Of several ingests one does it: two that counted what is too much would take it out twice. A holder that dies lets go by itself. */
const lease = { key: 'dead-letters', ms: 30_000 }

/** Letters taken out at once. */
const atOnce = 250

/**
 * Lets dead letters fall that are beyond what the configuration keeps (`backlog.keep`), and the oldest of an owner that is at its bound
 * and says `whenFull: drop-oldest`. Where it says neither, nothing ever falls out. Gives what stops it.
 */
export function startKeeping(options: KeepOptions): () => void {
  const { queues, policyOf, overBy, onDropped, log, everyMs = 5_000 } = options
  // The clock of the start and what has passed since: a clock that jumps makes no letter old.
  const began = Date.now() - performance.now()
  const now = options.now ?? (() => began + performance.now())
  const { store } = queues
  const holder = randomUUID()
  const hold = () => store.lease(lease.key, holder, lease.ms)
  let stopped = false
  let timer: NodeJS.Timeout | undefined
  schedule()
  return () => {
    stopped = true
    clearTimeout(timer)
  }

  function schedule(): void {
    if (stopped) return
    timer = setTimeout(() => {
      void sweep()
        .catch((error: unknown) => log.debug({ error: messageOf(error) }, 'dead letters could not be looked through'))
        .finally(schedule)
    }, everyMs).unref()
  }

  async function sweep(): Promise<void> {
    if (!(await hold())) return
    try {
      await sweepAll()
    } finally {
      await store.release(lease.key, holder).catch(() => {})
    }
  }

  async function sweepAll(): Promise<void> {
    const owners = (await queues.owners()).filter((owner) => {
      const { keep, whenFull } = policyOf(owner)
      return keep !== undefined || (whenFull === 'drop-oldest' && overBy(owner) > 0)
    })
    for (const owner of owners) {
      if (stopped) return
      // One that has a store of its own may be away by itself.
      await sweepOwner(owner).catch((error: unknown) =>
        log.debug({ owner, error: messageOf(error) }, 'dead letters could not be looked through'),
      )
    }
  }

  async function sweepOwner(owner: string): Promise<void> {
    const { keep = {}, whenFull } = policyOf(owner)
    const { age, messages, bytes } = keep
    if (age !== undefined) await dropWhile(owner, 'kept-age', ({ data }) => now() - data.at >= age)
    if (messages !== undefined) {
      let over = (await queues.counts(deadOf(owner))).waiting - messages
      await dropWhile(owner, 'kept-messages', () => (over -= 1) >= 0)
    }
    if (bytes !== undefined) {
      const { deadBytes, mean } = await deadSizeOf(owner)
      let over = deadBytes - bytes
      await dropWhile(owner, 'kept-bytes', () => over > 0 && ((over -= mean), true))
    }
    if (whenFull === 'drop-oldest') {
      const { mean } = await deadSizeOf(owner)
      let over = overBy(owner)
      await dropWhile(owner, 'full', () => over > 0 && ((over -= mean), true))
    }
  }

  async function deadSizeOf(owner: string): Promise<{ readonly deadBytes: number; readonly mean: number }> {
    const [sizes, { waiting }] = await Promise.all([queues.sizes([owner], ['dead']), queues.counts(deadOf(owner))])
    const deadBytes = sizes.get(owner)?.deadBytes ?? 0
    return { deadBytes, mean: deadBytes / Math.max(1, waiting) }
  }

  /** From the oldest on, as long as they are to go. */
  async function dropWhile(
    owner: string,
    reason: DropReason,
    isToGo: (job: PagedJob<Failure>) => boolean,
  ): Promise<void> {
    const queue = deadOf(owner)
    let dropped = 0
    for (;;) {
      const page = await queues.page<Failure>(queue, undefined, atOnce)
      const stays = page.findIndex((job) => !isToGo(job))
      const gone = stays === -1 ? page : page.slice(0, stays)
      if (gone.length === 0) break
      await queues.remove(
        queue,
        gone.map(({ id }) => id),
        `dropped:${reason}`,
      )
      const entries = gone.flatMap(({ data }) =>
        isFailure(data) ? [{ rule: data.entry.rule, action: data.entry.action }] : [],
      )
      onDropped({ owner, reason, entries })
      dropped += gone.length
      if (stays !== -1 || stopped || !(await hold())) break
    }
    if (dropped > 0) log.warn({ owner, reason, dropped }, 'dead letters were dropped, as the configuration says')
  }
}
