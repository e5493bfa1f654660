import { styleText } from 'node:util'
import type { Command } from 'commander'
import { SluiceError } from '../core/errors.ts'
import { ask } from './context.ts'
import { printTable } from './output.ts'

interface Filter {
  readonly worker?: string
  readonly rule?: string
  readonly kind?: string
  readonly limit?: string
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

interface Page {
  readonly letters: readonly Row[]
  readonly more: boolean
  readonly next?: string
}

/** What one call has done: counts, and where to go on. */
interface Stretch {
  readonly more: boolean
  readonly next?: string
  readonly [count: string]: unknown
}

/** Lines of one call: as many as an answer holds. */
const lettersPerCall = 1_000
const usualLimit = 1_000

export function addDeadLetters(program: Command): void {
  const letters = program
    .command('dead-letters')
    .description('what was not delivered: list, explain, put back, throw away')

  filtered(letters.command('ls').description('list dead letters, oldest first'))
    .option('--limit <count>', `at most so many, by default ${usualLimit}`)
    .option('--all', 'however many there are')
    .option('--json', 'print one JSON document')
    .action(async (options: Filter & { all?: true; json?: true }) => {
      const limit = options.all ? Infinity : (limitOf(options) ?? usualLimit)
      const print = options.json ? printerOfJson() : printerOfTables()
      const more = await list(program, options, limit, (page) => print.page(page))
      print.end(more)
    })

  letters
    .command('show <id>')
    .description('everything about one: payload as it came, and every error')
    .action(async (id: string) => {
      console.log(JSON.stringify(await ask(program, 'GET', `/dead-letters/${encodeURIComponent(id)}`), undefined, 2))
    })

  for (const [act, description] of [
    [
      'replay',
      'put dead letters back: to their worker, through the current rule where a rule had failed, or in as their bridge would',
    ],
    ['purge', 'throw dead letters away for good'],
  ] as const) {
    filtered(letters.command(`${act} [id]`).description(description))
      .option('--all', 'every one that the filters leave')
      .option('--limit <count>', 'with --all, at most so many, the oldest first')
      .action(async (id: string | undefined, options: Filter & { all?: true }) => {
        if ((id === undefined) === (options.all === undefined)) {
          throw new SluiceError('WRONG_USE', `say which: "sluice dead-letters ${act} ID", or --all with filters`)
        }
        const counts = await operate(program, act, id === undefined ? queryOf(options) : { id }, limitOf(options))
        console.log(JSON.stringify(counts))
      })
  }
}

/** Asks for one page after the other, and hands each on before the next; says whether there is more than `limit`. */
async function list(
  program: Command,
  filter: Filter,
  limit: number,
  print: (letters: readonly Row[]) => void,
): Promise<boolean> {
  let left = limit
  let from: string | undefined
  for (;;) {
    const query = {
      ...queryOf(filter),
      limit: String(Math.min(left, lettersPerCall)),
      ...(from !== undefined && { from }),
    }
    const page = (await ask(program, 'GET', `/dead-letters?${new URLSearchParams(query).toString()}`)) as Page
    if (page.letters.length > 0) print(page.letters)
    left -= page.letters.length
    from = page.next
    if (from === undefined || left <= 0) return from !== undefined
  }
}

/** Stretch by stretch until nothing is left; between two of them a line on standard error says how far it is. */
async function operate(
  program: Command,
  act: 'replay' | 'purge',
  query: Readonly<Record<string, string>>,
  limit = Infinity,
): Promise<Readonly<Record<string, unknown>>> {
  const total: Record<string, number> = {}
  let from: string | undefined
  for (;;) {
    const left = limit - handledOf(total)
    const stretch = (await ask(program, 'POST', `/dead-letters/${act}`, {
      ...query,
      ...(Number.isFinite(left) && { limit: String(left) }),
      ...(from !== undefined && { from }),
    })) as Stretch
    const { more, next, ...counts } = stretch
    for (const [name, count] of Object.entries(counts)) total[name] = (total[name] ?? 0) + Number(count)
    if (next === undefined || handledOf(total) >= limit) return { ...total, more }
    console.error(
      `${Object.entries(total)
        .map(([name, count]) => `${name} ${count}`)
        .join(', ')} so far`,
    )
    from = next
  }
}

function handledOf(total: Readonly<Record<string, number>>): number {
  return Object.entries(total).reduce((sum, [name, count]) => (name === 'missing' ? sum : sum + count), 0)
}

function printerOfJson() {
  let first = true
  return {
    page(letters: readonly Row[]) {
      for (const letter of letters) {
        console.log(`${first ? '{ "letters": [\n' : ','}${JSON.stringify(letter)}`)
        first = false
      }
    },
    end: (more: boolean) => console.log(`${first ? '{ "letters": [' : ''}], "more": ${more} }`),
  }
}

/** A table for each page, so that nothing has to be kept; its head once. */
function printerOfTables() {
  let first = true
  return {
    page(letters: readonly Row[]) {
      const rows = letters.map(({ id, owner, kind, rule, topic, at, reason }) => [
        id,
        owner,
        rule,
        kind,
        new Date(at).toISOString(),
        topic,
        oneLine(reason),
      ])
      printTable([...(first ? [['id', 'owner', 'rule', 'kind', 'given up', 'topic', 'reason']] : []), ...rows])
      first = false
    },
    end(more: boolean) {
      if (first) console.log('no dead letters')
      else if (more)
        console.log('there are more: --all, or a larger --limit, shows them; --worker, --rule and --kind narrow it')
    },
  }
}

function filtered(command: Command): Command {
  return command
    .option(
      '--worker <name>',
      'only those of this worker; rule:NAME for those of a rule, bridge:NAME for those of a bridge',
    )
    .option('--rule <name>', 'only those of this rule')
    .option('--kind <kind>', 'only rejected, exhausted, expired, crashed, evaluation or refused')
}

function queryOf({ worker, rule, kind }: Filter): Record<string, string> {
  return {
    ...(worker !== undefined && { worker }),
    ...(rule !== undefined && { rule }),
    ...(kind !== undefined && { kind }),
  }
}

function limitOf({ limit }: Filter): number | undefined {
  if (limit === undefined) return undefined
  if (!/^[1-9]\d{0,14}$/.test(limit)) throw new SluiceError('WRONG_USE', '--limit wants a whole number from 1 on')
  return Number(limit)
}

/** Errors of far sides hold anything; a table has one line each. */
function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- exactly what must not reach a terminal
  const clean = text.replaceAll(/[\u0000-\u001F\u007F-\u009F]+/g, ' ')
  return styleText('gray', clean.length > 100 ? `${clean.slice(0, 99)}…` : clean, { stream: process.stdout })
}
