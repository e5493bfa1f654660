import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLedgerMetrics } from '../../src/app/ledger-metrics.ts'
import type { LedgerTotals } from '../../src/core/ledger.ts'
import { createMemoryQueues } from '../support/memory-queues.ts'

test('names that a worker writes into its ledger fill no memory here', async () => {
  const queues = createMemoryQueues()
  let round = 0
  const totals = async (): Promise<LedgerTotals> => ({
    lastNumber: 0,
    lines: Array.from({ length: 2_000 }, (_, index) => ({
      side: 'out',
      rule: `made up ${round}-${index}`,
      what: 'delivered',
      messages: 1,
    })),
  })
  const sums = new Set<string>()
  const setMetrics = createLedgerMetrics(
    { owners: () => queues.owners(), ledger: { ...queues.ledger, totals } },
    { set: (name, labels) => void (name === 'sluice_ledger_messages' && sums.add(JSON.stringify(labels))) },
  )
  for (; round < 8; round += 1) await setMetrics(['w'])
  assert.equal(sums.size, 10_000)
})
