import { deepEqual, equal } from 'node:assert/strict'
import type { LedgerReport, LedgerRow } from '../../src/delivery/ledger-report.ts'
import { until, type Scope } from './cleanup.ts'
import { command } from './command.ts'

/** What `sluice ledger` says of the Sluice that runs in a folder; fails where not every message is accounted for. */
export async function closedLedger(scope: Scope, folder: string): Promise<readonly LedgerRow[]> {
  const ran = await command(scope, folder, ['ledger', '--json'])
  const { closed, rows, problems } = JSON.parse(ran.stdout) as LedgerReport
  deepEqual(problems, [])
  deepEqual([closed, ran.code, ran.stderr], [true, 0, ''])
  for (const { difference } of rows) equal(difference, 0)
  return rows
}

/** The same when nothing is pending any more. */
export async function emptiedLedger(scope: Scope, folder: string): Promise<readonly LedgerRow[]> {
  return until(
    'nothing is pending in the ledger',
    async () => {
      const rows = await closedLedger(scope, folder)
      return rows.every(({ pending }) => pending === 0) && rows
    },
    30_000,
  )
}
