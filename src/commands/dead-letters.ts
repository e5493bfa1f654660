import { styleText } from 'node:util'
import type { Command } from 'commander'
import { SluiceError } from '../core/errors.ts'
import { ask } from './context.ts'
import { printTable } from './output.ts'

interface Filter {
  readonly worker?: string
  readonly rule?: string
  readonly kind?: string
  readonly limit: string
}

interface Row {
  readonly id: string
  readonly owner: string
  readonly kind: string
  readonly rule: string
  readonly topic: string
  readonly at: number
  readonly reason: string
}

export function addDeadLetters(program: Command): void {
  const letters = program
    .command('dead-letters')
    .description('what was not delivered: list, explain, put back, throw away')

  filtered(letters.command('ls').description('list dead letters, oldest first'))
    .option('--json', 'print one JSON document')
    .action(async (options: Filter & { json?: true }) => {
      const list = (await ask(program, 'GET', `/dead-letters?${new URLSearchParams(queryOf(options)).toString()}`)) as {
        letters: readonly Row[]
        more: boolean
      }
      if (options.json) return console.log(JSON.stringify(list, undefined, 2))
      if (list.letters.length === 0) return console.log('no dead letters')
      const rows = list.letters.map(({ id, owner, kind, rule, topic, at, reason }) => [
        id,
        owner,
        rule,
        kind,
        new Date(at).toISOString(),
        topic,
        oneLine(reason),
      ])
      printTable([['id', 'owner', 'rule', 'kind', 'given up', 'topic', 'reason'], ...rows])
      if (list.more) console.log('there are more: raise --limit, or filter')
    })

  letters
    .command('show <id>')
    .description('everything about one: payload as it came, and every error')
    .action(async (id: string) => {
      console.log(JSON.stringify(await ask(program, 'GET', `/dead-letters/${encodeURIComponent(id)}`), undefined, 2))
    })

  for (const [act, description] of [
    ['replay', 'put dead letters back: to their worker, or through the current rules where a rule had failed'],
    ['purge', 'throw dead letters away for good'],
  ] as const) {
    filtered(letters.command(`${act} [id]`).description(description))
      .option('--all', 'every one that the filters leave')
      .action(async (id: string | undefined, options: Filter & { all?: true }) => {
        if ((id === undefined) === (options.all === undefined)) {
          throw new SluiceError('WRONG_USE', `say which: "sluice dead-letters ${act} ID", or --all with filters`)
        }
        const query = id === undefined ? queryOf(options) : { id }
        console.log(JSON.stringify(await ask(program, 'POST', `/dead-letters/${act}`, query)))
      })
  }
}

function filtered(command: Command): Command {
  return command
    .option('--worker <name>', 'only those of this worker')
    .option('--rule <name>', 'only those of this rule')
    .option('--kind <kind>', 'only rejected, exhausted, expired, crashed or evaluation')
    .option('--limit <count>', 'at most so many', '1000')
}

function queryOf({ worker, rule, kind, limit }: Filter): Record<string, string> {
  return {
    limit,
    ...(worker !== undefined && { worker }),
    ...(rule !== undefined && { rule }),
    ...(kind !== undefined && { kind }),
  }
}

/** Errors of far sides hold anything; a table has one line each. */
function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- exactly what must not reach a terminal
  const clean = text.replaceAll(/[\u0000-\u001F\u007F-\u009F]+/g, ' ')
  return styleText('gray', clean.length > 100 ? `${clean.slice(0, 99)}…` : clean, { stream: process.stdout })
}
