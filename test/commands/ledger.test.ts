import { deepEqual, equal, match } from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { type ControlPlane, openControl } from '../../src/admin/control.ts'
import { silent } from '../../src/core/log.ts'
import type { LedgerReport } from '../../src/delivery/ledger-report.ts'
import { temporaryFolder } from '../support/cleanup.ts'
import { command } from '../support/command.ts'
import { writeFiles } from '../support/sluice.ts'

test('a ledger that does not close ends with 1, and each thing that is wrong is a sentence', async (context) => {
  const folder = await temporaryFolder(context)
  await writeFiles(folder, { 'sluice.yaml': '{}\n' })
  const place = { owner: 'hook', part: 'work', rule: 'raw', job: 'j1' } as const
  const report: LedgerReport = {
    at: 1,
    closed: false,
    rows: [
      {
        rule: 'raw',
        worker: 'hook',
        accepted: 5,
        errorActions: 0,
        replayed: 1,
        before: 0,
        repeated: 0,
        delivered: 2,
        toErrorActions: 0,
        dead: 1,
        deadReplayed: 0,
        purged: 0,
        dropped: { full: 1 },
        pending: 1,
        difference: 1,
      },
    ],
    problems: [
      { ...place, kind: 'lost', count: 1 },
      { ...place, kind: 'twice', count: 2 },
      { owner: 'hook', part: 'work', kind: 'stray', count: 3 },
      { ...place, kind: 'short', count: 1 },
    ],
  }
  const plane = { ledger: async () => report } as unknown as ControlPlane
  const control = await openControl(join(folder, 'data', 'control.sock'), plane, silent)
  context.after(() => control.close())

  const shown = await command(context, folder, ['ledger'])
  deepEqual([shown.code, shown.stderr], [1, ''])
  match(shown.stdout, /\nraw +hook +6 +2 +0 +1 +0 +0 +1 \(full\) +1 +1\n/)
  match(shown.stdout, /lost: 1 message of rule raw \(job j1\) went into the queue of hook and nothing says/)
  match(shown.stdout, /added twice: 2 messages of rule raw \(job j1\)/)
  match(shown.stdout, /added behind the ledger: 3 jobs in the queue of hook without an entry/)
  match(shown.stdout, /finished without an outcome: 1 message of rule raw/)
  match(shown.stdout, /the ledger does not close\n$/)
  const json = await command(context, folder, ['ledger', '--json'])
  equal(json.code, 1)
  deepEqual(JSON.parse(json.stdout), report)
})
