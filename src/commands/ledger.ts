import type { Command } from 'commander'
import type { LedgerReport, LedgerRow } from '../delivery/ledger-report.ts'
import type { LedgerProblem } from '../delivery/station.ts'
import { ask } from './context.ts'
import { countOf, paint, printTable } from './output.ts'

export function addLedger(program: Command): void {
  program
    .command('ledger')
    .description('whether every acknowledged message is accounted for, by rule and worker')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\naccepted (with error actions and what was put back) = delivered + to error actions + dead letters (there, put back,\nthrown away) + dropped + pending. Exits with 1 where something is missing or too much.',
    )
    .action(async (options: { json?: true }) => {
      const report = (await ask(program, 'GET', '/ledger')) as LedgerReport
      if (!report.closed) process.exitCode = 1
      if (options.json) return console.log(JSON.stringify(report, undefined, 2))
      if (report.rows.length > 0) printTable([heading, ...report.rows.map(cellsOf)])
      for (const problem of report.problems) console.log(paint('red', sentenceOf(problem)))
      console.log(
        report.closed ? paint('green', 'every message is accounted for') : paint('red', 'the ledger does not close'),
      )
    })
}

const heading = [
  'rule',
  'worker',
  'accepted',
  'delivered',
  'error actions',
  'dead',
  'put back',
  'purged',
  'dropped',
  'pending',
  'difference',
]

function cellsOf(row: LedgerRow): readonly string[] {
  const accepted = row.accepted + row.errorActions + row.replayed + row.before + row.repeated
  const dropped = Object.entries(row.dropped).map(([reason, messages]) => `${messages} (${reason})`)
  const counts = [row.toErrorActions, row.dead, row.deadReplayed, row.purged].map(String)
  return [
    row.rule,
    row.worker,
    String(accepted),
    String(row.delivered),
    ...counts,
    dropped.length === 0 ? '0' : dropped.join(', '),
    String(row.pending),
    String(row.difference),
  ]
}

const queueNames = { work: 'the queue', failures: 'the failures', dead: 'the dead letters' } as const

function sentenceOf({ kind, owner, part, rule, job, count }: LedgerProblem): string {
  const place = `${queueNames[part]} of ${owner}`
  const who = `${rule === undefined ? '' : ` of rule ${rule}`}${job === undefined ? '' : ` (job ${job})`}`
  const messages = `${countOf(count, 'message')}${who}`
  switch (kind) {
    case 'lost':
      return `lost: ${messages} went into ${place} and nothing says what became of them`
    case 'twice':
      return `added twice: ${messages} went into ${place} again`
    case 'unentered':
      return `added behind the ledger: ${messages} left ${place} and had never been entered`
    case 'stray':
      return `added behind the ledger: ${countOf(count, 'job')} in ${place} without an entry`
    case 'short':
      return `finished without an outcome: ${messages} left ${place}, and nothing says what became of them`
    case 'over':
      return `too much: ${messages} of ${place} were counted beyond what had been entered`
    case 'not-handed-over':
      return `not handed over: ${messages} left ${place} and never came where they were to go`
  }
}
