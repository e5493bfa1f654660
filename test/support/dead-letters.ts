import type { Entry, Failure, FailureKind } from '../../src/core/envelope.ts'
import type { Queues } from '../../src/core/queue.ts'
import { deadLetterId } from '../../src/delivery/ids.ts'
import { entryOf } from './delivery.ts'

/** Puts dead letters into an owner's queue, oldest first; `at` is when each was given up. Gives their ids. */
export async function fillDead(
  queues: Queues,
  owner: string,
  entries: readonly (Partial<Entry> & { readonly id: string; readonly kind?: FailureKind })[],
): Promise<readonly string[]> {
  const jobs = entries.map(({ kind = 'rejected', at = 10, ...entry }, index) => {
    const data: Failure = { v: 1, kind, reason: 'no', at, entry: entryOf({ at: index, ...entry }) }
    return { id: deadLetterId(data), data: owner.startsWith('rule:') ? data : { ...data, worker: owner } }
  })
  await queues.add({ owner, part: 'dead' }, jobs)
  return jobs.map(({ id }) => id)
}
