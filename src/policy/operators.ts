import { parseAddress, parseAddressRange } from './address.ts'
import { parseArnPattern } from './arn-pattern.ts'
import { type Certainty, certain, unknown, yes } from './certainty.ts'
import type { PolicyContext } from './context.ts'
import { parseInstant } from './instant.ts'
import type { Report } from './report.ts'
import { parseTemplate } from './template.ts'
import { show } from './values.ts'

/** Whether one given value matches one value of the policy. */
export type Test = (given: string, context: PolicyContext) => Certainty

/** Reads a value of the policy once and gives the test for it. */
export type Prepare = (wanted: string, path: string, report: Report) => Test

export interface Operator {
  readonly prepare: Prepare
  /** It holds where none of the policy's values matches. */
  readonly negated: boolean
}

const pattern =
  (wildcards: boolean): Prepare =>
  (wanted, path, report) => {
    const template = parseTemplate(wanted, wildcards, path, report)
    return (given, context) => template.match(given, 0, context)
  }

const arn: Prepare = (wanted, path, report) => {
  if (wanted === '*') return () => yes
  const template = parseArnPattern(wanted, path, report)
  return (given, context) => template.match(given, context)
}

/**
 * For operators that read both sides: what can't be read, on either side, is `unknown`. A value of the policy that can't be is
 * malformed, unless it holds variables and is known only when they are.
 */
function reading<Wanted, Given>(
  kind: string,
  readWanted: (text: string) => Wanted | undefined,
  readGiven: (text: string) => Given | undefined,
  holds: (given: Given, wanted: Wanted) => boolean,
): Prepare {
  return (text, path, report) => {
    const template = parseTemplate(text, false, path, report)
    const constant = template.literal === undefined ? undefined : readWanted(template.literal)
    if (!template.hasVariables && constant === undefined) report.malformed(path, `${show(text)} is not ${kind}`)
    return (given, context) => {
      const rendered = constant === undefined ? template.render(context) : undefined
      const wanted = rendered === undefined ? constant : readWanted(rendered)
      const value = readGiven(given)
      return wanted === undefined || value === undefined ? unknown : certain(holds(value, wanted))
    }
  }
}

function parseNumber(text: string): number | undefined {
  return /^[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : undefined
}

function parseBoolean(text: string): boolean | undefined {
  const lower = text.toLowerCase()
  return lower === 'true' ? true : lower === 'false' ? false : undefined
}

/** Bytes, as hex: of a policy's base64, and of a key's text. */
function parseBase64(text: string): string | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes.toString('hex') : undefined
}

const number = (holds: (given: number, wanted: number) => boolean): Prepare =>
  reading('a number', parseNumber, parseNumber, holds)

const date = (holds: (given: number, wanted: number) => boolean): Prepare =>
  reading('a date; write 2026-01-31T12:00:00Z or seconds since 1970', parseInstant, parseInstant, holds)

const text = (value: string): string => value.toLowerCase()
const sameText = reading('text', text, text, (given, wanted) => given === wanted)
const sameBoolean = reading('true or false', parseBoolean, parseBoolean, (given, wanted) => given === wanted)
const sameBytes = reading(
  'base64',
  parseBase64,
  (given) => Buffer.from(given).toString('hex'),
  (given, wanted) => given === wanted,
)
const inRange = reading(
  'an IP address or a range such as 192.0.2.0/24',
  parseAddressRange,
  parseAddress,
  (given, range) => range(given),
)
const same = (given: number, wanted: number): boolean => given === wanted
const less = (given: number, wanted: number): boolean => given < wanted
const atMost = (given: number, wanted: number): boolean => given <= wanted
const greater = (given: number, wanted: number): boolean => given > wanted
const atLeast = (given: number, wanted: number): boolean => given >= wanted

const holding = (prepare: Prepare): Operator => ({ prepare, negated: false })
const failing = (prepare: Prepare): Operator => ({ prepare, negated: true })

/** The condition operators of IAM by name, without `Null` (IAM, "Condition operators"). */
const operators: ReadonlyMap<string, Operator> = new Map([
  ['StringEquals', holding(pattern(false))],
  ['StringNotEquals', failing(pattern(false))],
  ['StringEqualsIgnoreCase', holding(sameText)],
  ['StringNotEqualsIgnoreCase', failing(sameText)],
  ['StringLike', holding(pattern(true))],
  ['StringNotLike', failing(pattern(true))],
  ['NumericEquals', holding(number(same))],
  ['NumericNotEquals', failing(number(same))],
  ['NumericLessThan', holding(number(less))],
  ['NumericLessThanEquals', holding(number(atMost))],
  ['NumericGreaterThan', holding(number(greater))],
  ['NumericGreaterThanEquals', holding(number(atLeast))],
  ['DateEquals', holding(date(same))],
  ['DateNotEquals', failing(date(same))],
  ['DateLessThan', holding(date(less))],
  ['DateLessThanEquals', holding(date(atMost))],
  ['DateGreaterThan', holding(date(greater))],
  ['DateGreaterThanEquals', holding(date(atLeast))],
  ['Bool', holding(sameBoolean)],
  ['BinaryEquals', holding(sameBytes)],
  ['IpAddress', holding(inRange)],
  ['NotIpAddress', failing(inRange)],
  ['ArnEquals', holding(arn)],
  ['ArnNotEquals', failing(arn)],
  ['ArnLike', holding(arn)],
  ['ArnNotLike', failing(arn)],
])

/** How a condition treats a key with several values, or none (IAM, "Conditions with multiple context keys or values"). */
export type Quantifier = 'one' | 'all' | 'any'

export type NamedOperator =
  | { readonly kind: 'null' }
  | {
      readonly kind: 'compare'
      readonly operator: Operator
      readonly quantifier: Quantifier
      /** A missing key satisfies it. */
      readonly ifExists: boolean
    }

const quantifiers: ReadonlyMap<string, Quantifier> = new Map([
  ['', 'one'],
  ['ForAllValues:', 'all'],
  ['ForAnyValue:', 'any'],
])

/** The names of all operators, without quantifiers and `IfExists`. */
export const operatorNames: readonly string[] = ['Null', ...operators.keys()]

/** Reads `ForAllValues:StringEqualsIfExists`; undefined where there is no such operator. `Null` stands alone. */
export function findOperator(name: string): NamedOperator | undefined {
  if (name === 'Null') return { kind: 'null' }
  const { set, base, exists } = /^(?<set>[^:]*:)?(?<base>.*?)(?<exists>IfExists)?$/.exec(name)?.groups ?? {}
  const operator = operators.get(base ?? '')
  const quantifier = quantifiers.get(set ?? '')
  if (operator === undefined || quantifier === undefined) return undefined
  return { kind: 'compare', operator, quantifier, ifExists: exists !== undefined }
}
