import type { Metrics } from '../core/metrics.ts'
import type { Queues } from '../core/queue.ts'
import { messagesIn } from '../delivery/station.ts'

/**
 * Sets the ledger's figures for those who count over restarts: sums that are kept in the queue, behind by seconds. What a look into
 * the queues would find besides (lost jobs) is for `sluice ledger` to say.
 */
export async function setLedgerMetrics(
  queues: Queues,
  workers: readonly string[],
  metrics: Pick<Metrics, 'set'>,
): Promise<void> {
  const owners = new Set([...workers, ...(await queues.owners())])
  for (const owner of owners) {
    for (const part of ['work', 'failures', 'dead'] as const) {
      const totals = await queues.ledger.totals({ owner, part })
      if (totals.lines.length === 0) continue
      const labels = { worker: owner, queue: part }
      let wrong = 0
      for (const { side, rule, what, messages } of totals.lines) {
        if (side === 'in' || side === 'out')
          metrics.set('sluice_ledger_messages', { ...labels, rule, side, what }, messages)
        else wrong += messages
      }
      metrics.set('sluice_ledger_pending_messages', labels, messagesIn(totals))
      metrics.set('sluice_ledger_wrong_messages', labels, wrong)
    }
  }
}
