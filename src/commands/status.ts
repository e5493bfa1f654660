import type { Command } from 'commander'
import type { IngestStatus, WorkerStatus } from '../app/status.ts'
import { ask } from './context.ts'
import { paint, printTable } from './output.ts'

export function addStatus(program: Command): void {
  program
    .command('status')
    .description('what a running Sluice is doing: doors, bridges, rules, queues')
    .option('--json', 'print one JSON document')
    .action(async (options: { json?: true }) => {
      const status = (await ask(program, 'GET', '/status')) as IngestStatus
      if (options.json) return console.log(JSON.stringify(status, undefined, 2))
      console.log(status.ready ? paint('green', 'ready') : paint('red', `not ready: ${status.because ?? 'unknown'}`))
      console.log(`queue    ${status.queue}`)
      for (const door of status.doors) console.log(`door     ${door}`)
      for (const { name, state } of status.bridges) console.log(`bridge   ${name}: ${state}`)
      console.log(`rules    ${status.rules} (set ${status.ruleSet})\n`)
      printTable([
        ['worker', 'waiting', 'given up', 'dead letters', 'envelopes', 'active', 'delayed', 'room', 'state'],
        ...status.workers.map(({ name, waiting, failures, dead, envelopes, backlog, state }) => [
          name,
          ...[waiting, failures, dead, allOf(envelopes), envelopes?.active, envelopes?.delayed].map((figure) =>
            String(figure ?? '?'),
          ),
          roomOf(backlog),
          state,
        ]),
      ])
    })
}

/** How much of what it may have in the queue a worker has; loud from 80% on. */
function roomOf(backlog: WorkerStatus['backlog']): string {
  if (backlog === undefined) return '?'
  const percent = Math.floor((backlog.bytes / Math.max(1, backlog.limit)) * 100)
  const text = `${percent}% of ${Math.round(backlog.limit / 1_048_576)} MiB`
  if (backlog.full) return `FULL: ${text}`
  return percent >= 80 ? `NEAR: ${text}` : text
}

function allOf(envelopes: WorkerStatus['envelopes']): number | undefined {
  return envelopes && envelopes.waiting + envelopes.active + envelopes.delayed
}
