import type { Metrics } from '../core/metrics.ts'
import type { Queues } from '../core/queue.ts'
import { messagesIn } from '../delivery/station.ts'

/** Sums that are told. A worker writes its own ledger, with any names it likes, and is not trusted with our memory. */
const mostSums = 10_000

/**
 * Gives what sets the ledger's figures for those who count over restarts: sums that are kept in the queue, behind by seconds. What a
 * look into the queues would find besides (lost jobs) is for `sluice ledger` to say.
 */
export function createLedgerMetrics(
  queues: Pick<Queues, 'owners' | 'ledger'>,
  metrics: Pick<Metrics, 'set'>,
): (workers: readonly string[]) => Promise<void> {
  const told = new Set<string>()
  return async (workers) => {
    const owners = new Set([...workers, ...(await queues.owners())])
    // One that has a store of its own may be away by itself.
    const set = await Promise.allSettled([...owners].map(setOf))
    const failed = set.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  async function setOf(owner: string): Promise<void> {
    for (const part of ['work', 'failures', 'dead'] as const) {
      const totals = await queues.ledger.totals({ owner, part })
      if (totals.lines.length === 0) continue
      const labels = { worker: owner, queue: part }
      let wrong = 0
      for (const { side, rule, what, messages } of totals.lines) {
        if (side !== 'in' && side !== 'out') wrong += messages
        else if (isTold(JSON.stringify([owner, part, rule, side, what])))
          metrics.set('sluice_ledger_messages', { ...labels, rule, side, what }, messages)
      }
      metrics.set('sluice_ledger_pending_messages', labels, messagesIn(totals))
      metrics.set('sluice_ledger_wrong_messages', labels, wrong)
    }
  }

  function isTold(sum: string): boolean {
    if (told.size < mostSums) told.add(sum)
    return told.has(sum)
  }
}
