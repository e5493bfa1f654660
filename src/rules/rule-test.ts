import { textOf } from '../core/wire.ts'
import type { Message } from '../core/message.ts'
import type { RuleDefinition, RuleOutcome, RuleSet, RuleTest } from '../core/rule.ts'
import { differences } from './difference.ts'
import { compileRules, type EngineOptions } from './engine.ts'
import { messageOfSample } from './sample.ts'

/** How one test of a rule went. */
export interface RuleTestResult {
  readonly rule: string
  readonly test: RuleTest
  readonly passed: boolean
  /** What was not as expected, one sentence each; empty where it passed. */
  readonly problems: readonly string[]
}

/**
 * Runs the tests written in rules, each against its own rule alone, in their order. Throws SluiceError EXPRESSION_INVALID
 * for a rule that doesn't parse.
 */
export async function runRuleTests(
  rules: readonly RuleDefinition[],
  options: EngineOptions = {},
): Promise<readonly RuleTestResult[]> {
  const results: RuleTestResult[] = []
  for (const rule of rules) {
    if (rule.tests.length === 0) continue
    const set = compileRules([rule], options)
    for (const test of rule.tests) results.push(await runRuleTest(set, rule, test))
  }
  return results
}

async function runRuleTest(set: RuleSet, rule: RuleDefinition, test: RuleTest): Promise<RuleTestResult> {
  const message = messageOfSample(test.given)
  const [outcome] = await set.evaluate(message)
  const problems = problemsOf(test.expect, outcome, message)
  return { rule: rule.name, test, passed: problems.length === 0, problems }
}

/** What is left out of `expect` is not looked at, except that a rule which fails must have been expected to. */
function problemsOf(expect: RuleTest['expect'], outcome: RuleOutcome | undefined, message: Message): string[] {
  const taken = outcome !== undefined && outcome.kind !== 'unmatched'
  if (expect.match === false)
    return taken ? [`expected the rule to leave the message alone; ${sentenceOf(outcome, message)}`] : []
  if (expect.error !== undefined) return problemsOfError(expect.error, expect, outcome, message)
  if (outcome?.kind === 'failed') return [sentenceOf(outcome, message)]
  const problems: string[] = []
  if (!taken) return [sentenceOf(outcome, message)]
  if (expect.select !== undefined) problems.push(...problemsOfSelect(expect.select, outcome, message))
  if (expect.to !== undefined) problems.push(...problemsOfWorkers(expect.to, outcome))
  return problems
}

function problemsOfError(
  error: string,
  { to }: RuleTest['expect'],
  outcome: RuleOutcome | undefined,
  message: Message,
): string[] {
  if (outcome?.kind !== 'failed') return [`expected the rule to fail with "${error}"; ${sentenceOf(outcome, message)}`]
  const problems = outcome.reason.includes(error) ? [] : [`expected an error with "${error}", got "${outcome.reason}"`]
  return to === undefined ? problems : [...problems, ...problemsOfWorkers(to, outcome)]
}

function problemsOfSelect(expected: unknown, outcome: RuleOutcome, message: Message): string[] {
  if (outcome.kind !== 'deliveries') return [`select: ${sentenceOf(outcome, message)}`]
  const [delivery] = outcome.deliveries
  const text = textOf(delivery?.out ?? message.payload)
  return differences(expected, parsed(text)).map(
    ({ path, message }) => `${path === '' ? 'select' : `select.${path}`}: ${message}`,
  )
}

/** The JSON value, or the text itself where it is none: that is what leaves where there is no `select`. */
function parsed(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? '')
  } catch {
    return text
  }
}

function problemsOfWorkers(expected: readonly string[], outcome: RuleOutcome): string[] {
  const actual = workersOf(outcome)
  const same = expected.length === actual.length && expected.every((worker, index) => worker === actual[index])
  return same ? [] : [`to: expected ${listed(expected)}, got ${listed(actual)}`]
}

function workersOf(outcome: RuleOutcome): readonly string[] {
  const deliveries =
    outcome.kind === 'deliveries' ? outcome.deliveries : outcome.kind === 'failed' ? outcome.onError : []
  return deliveries.map(({ worker }) => worker)
}

function listed(workers: readonly string[]): string {
  return workers.length === 0 ? 'nobody' : workers.join(', ')
}

/** What became of the message, as the end of a sentence about what was expected. */
function sentenceOf(outcome: RuleOutcome | undefined, message: Message): string {
  switch (outcome?.kind) {
    case undefined:
      return message.rule === undefined
        ? 'no topic filter of the rule matches the topic'
        : `the topic is for the rule "${message.rule}" alone`
    case 'unmatched':
      return 'where did not hold'
    case 'empty':
      return 'select was undefined, so nothing was sent'
    case 'failed':
      return `the rule failed: ${outcome.reason}`
    case 'deliveries':
      return `it went to ${listed(workersOf(outcome))}`
  }
}
