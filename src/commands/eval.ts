import { createInterface } from 'node:readline'
import { type Command, Option } from 'commander'
import { z } from 'zod'
import { catalog } from '../app/catalog.ts'
import { rulesAt } from '../app/rules-at.ts'
import { unmatchedRuleOf } from '../config/unmatched.ts'
import { SluiceError, messageOf } from '../core/errors.ts'
import type { Message } from '../core/message.ts'
import type { RuleDefinition, RuleOutcome, RuleSet } from '../core/rule.ts'
import { awsTopicLimits, complainAboutTopicFilter, complainAboutTopicName } from '../core/topic.ts'
import { textOf } from '../core/wire.ts'
import { compileRules } from '../rules/engine.ts'
import { messageOfSample, type Sample } from '../rules/sample.ts'
import { readWithoutSecrets } from './context.ts'

interface Options {
  readonly rule?: string
  readonly sql?: string
  readonly from?: string
  readonly where?: string
  readonly select?: string
}

/** One line of standard input. */
const sample = z.strictObject({
  topic: z.string().refine((topic) => complainAboutTopicName(topic) === undefined, 'is not a topic name'),
  payload: z.unknown().optional(),
  payloadText: z.string().optional(),
  payloadBase64: z.base64().optional(),
  clientId: z.string().optional(),
  principal: z.string().optional(),
  thing: z.string().optional(),
  qos: z.union([z.literal(0), z.literal(1), z.literal(2)]).optional(),
  retain: z.boolean().optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
})

export function addEval(program: Command): void {
  program
    .command('eval')
    .description('read messages as NDJSON on standard input and print what each rule makes of each, a JSON line each')
    .addOption(new Option('--rule <file>', 'only the rules of this file').conflicts(['sql', 'where', 'select', 'from']))
    .option('--sql <statement>', 'a rule on the spot, in AWS IoT SQL (not in this version)')
    .option('--where <jsonata>', 'a rule on the spot: its condition')
    .option('--select <jsonata>', 'a rule on the spot: what it makes')
    .option('--from <filter>', 'a rule on the spot: its topic filter; every topic by default')
    .addHelpText(
      'after',
      '\nA message: {"topic":"a/b","payload":{"celsius":31},"clientId":"d-1"}; also payloadText, payloadBase64, principal, thing, qos, retain, properties.',
    )
    .action(async (options: Options) => {
      const set = await rulesFor(program, options)
      let line = 0
      for await (const text of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
        line += 1
        if (text.trim() === '') continue
        // Whoever read the answers has gone.
        if (!process.stdout.writable) break
        await evaluateLine(set, line, text)
      }
    })
}

async function rulesFor(program: Command, options: Options): Promise<RuleSet> {
  if (options.sql !== undefined)
    throw new SluiceError(
      'WRONG_USE',
      '--sql: rules in AWS IoT SQL are not available in this version; use --where and --select',
    )
  const { from, where, select } = options
  if ([from, where, select].some((given) => given !== undefined)) return compileRules([ruleOnTheSpot(options)])
  const config = await readWithoutSecrets(program)
  if (options.rule !== undefined) return compileRules(await rulesAt([options.rule], config, catalog))
  return compileRules(config.rules, { unmatched: unmatchedRuleOf(config.settings, config.workers) })
}

function ruleOnTheSpot({ from = '#', where, select }: Options): RuleDefinition {
  const wrong = complainAboutTopicFilter(from, awsTopicLimits)
  if (wrong !== undefined) throw new SluiceError('WRONG_USE', `--from: ${wrong}`)
  const rule: RuleDefinition = {
    name: 'on-the-spot',
    position: { file: '<command line>', line: 1, column: 1 },
    from: [from],
    to: [{ worker: 'nowhere' }],
    onError: [],
    tests: [],
    ...(where !== undefined && { where }),
    ...(select !== undefined && { select }),
  }
  const [complaint] = catalog.examineRule?.(rule) ?? []
  if (complaint === undefined) return rule
  const place = complaint.offset === undefined ? '' : ` at character ${complaint.offset + 1}`
  throw new SluiceError('WRONG_USE', `--${complaint.path}${place}: ${complaint.message}`)
}

async function evaluateLine(set: RuleSet, line: number, text: string): Promise<void> {
  const message = readMessage(line, text)
  if (message === undefined) return
  const { topic, rule } = message
  const outcomes = [...(await set.evaluate(message))]
  if (outcomes.length === 0 && rule === undefined)
    outcomes.push(...[await set.unmatched(message)].filter((outcome) => outcome !== undefined))
  if (outcomes.length === 0) {
    const outcome = rule === undefined ? { outcome: 'no rule' } : { rule, outcome: 'rule not found' }
    return console.log(JSON.stringify({ line, topic, ...outcome }))
  }
  for (const outcome of outcomes) console.log(JSON.stringify({ line, topic, ...shown(outcome, message) }))
}

/** A line that is no message is said with its number, and the others go on. */
function readMessage(line: number, text: string): Message | undefined {
  try {
    const { error, data } = sample.safeParse(JSON.parse(text))
    if (error === undefined) return messageOfSample(data as Sample)
    const [issue] = error.issues
    const path = issue?.path.join('.') ?? ''
    console.error(`line ${line}: ${path === '' ? '' : `${path}: `}${issue?.message ?? 'is not a message'}`)
  } catch (error) {
    console.error(`line ${line}: not JSON: ${messageOf(error)}`)
  }
  process.exitCode = 1
  return undefined
}

function shown(outcome: RuleOutcome, message: Message): Record<string, unknown> {
  const { rule, kind } = outcome
  if (kind === 'failed')
    return { rule, outcome: kind, reason: outcome.reason, onError: outcome.onError.map(({ worker }) => worker) }
  if (kind !== 'deliveries') return { rule, outcome: kind }
  const payload = outcome.deliveries[0]?.out ?? message.payload
  const to = outcome.deliveries.map((delivery) => ({
    worker: delivery.worker,
    ...(delivery.with !== undefined && { with: delivery.with }),
  }))
  return { rule, outcome: kind, output: valueOf(payload), to }
}

/** The JSON value that leaves, or the text, or the bytes as base64. */
function valueOf(payload: Buffer): unknown {
  const text = textOf(payload)
  if (text === undefined) return { base64: payload.toString('base64') }
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
