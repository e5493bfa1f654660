import { type Certainty, certain, every, not, no, some, unknown, yes } from './certainty.ts'
import type { PolicyContext } from './context.ts'
import { complainUnknown } from './unknown.ts'
import { findOperator, type NamedOperator, operatorNames, type Quantifier } from './operators.ts'
import type { Report } from './report.ts'
import { isFields, show } from './values.ts'
import type { Variable } from './variable.ts'
import { findConditionKey, variableNames } from './variables.ts'

/** Whether a statement's conditions hold: all of them must, and of the values in each, one. */
export type Condition = (context: PolicyContext) => Certainty

/** Reads a statement's `Condition`: operator → key → value or values. Absent: it always holds, and there is nothing to ask. */
export function compileConditions(value: unknown, path: string, report: Report): Condition | undefined {
  if (value === undefined) return undefined
  if (!isFields(value)) {
    report.malformed(path, `Condition must be a map of operators, and is ${show(value)}`)
    return undefined
  }
  const conditions: Condition[] = []
  for (const [name, block] of Object.entries(value)) {
    const at = `${path}.${name}`
    const operator = findOperator(name)
    if (operator === undefined) report.malformed(at, complainUnknown('condition operator', name, operatorNames))
    else if (!isFields(block)) report.malformed(at, `${name} must be a map of keys to values, and is ${show(block)}`)
    else {
      for (const [key, values] of Object.entries(block)) {
        conditions.push(compileCondition(operator, key, values, `${at}.${key}`, report))
      }
    }
  }
  return conditions.length === 0 ? undefined : (context) => every(conditions.map((holds) => holds(context)))
}

function compileCondition(
  operator: NamedOperator,
  key: string,
  values: unknown,
  path: string,
  report: Report,
): Condition {
  const wanted = readValues(values, path, report)
  const variable = findConditionKey(key)
  if (variable === undefined) report.doubtful(path, complainUnknown('condition key', key, variableNames))
  if (operator.kind === 'null') return compileNull(variable, wanted, path, report)

  const { quantifier, ifExists } = operator
  const { prepare, negated } = operator.operator
  const tests = wanted.map(({ text, path }) => prepare(text, path, report))
  // Nobody knows what a key that we don't have would hold. Taking it for a missing key would let a misspelt one allow things.
  if (variable === undefined) return () => unknown
  const whenMissing = ifExists || quantifier === 'all' || (quantifier === 'one' && negated)

  return (context) => {
    const given = variable.values(context)
    if (given.length === 0) return certain(whenMissing)
    return quantify(
      quantifier,
      given.map((value) => {
        if (value === undefined) return unknown
        const matched = some(tests.map((test) => test(value, context)))
        return negated ? not(matched) : matched
      }),
    )
  }
}

function quantify(quantifier: Quantifier, results: readonly Certainty[]): Certainty {
  const all = every(results)
  if (quantifier === 'all') return all
  const any = some(results)
  if (quantifier === 'any') return any
  // IAM leaves open what a plain operator means for a key with several values; it is sure only where all agree.
  return all === any ? all : unknown
}

/** `Null`: `"true"` holds where the key is missing, `"false"` where it is there. */
function compileNull(
  variable: Variable | undefined,
  wanted: readonly Wanted[],
  path: string,
  report: Report,
): Condition {
  const texts = wanted.map(({ text }) => text.toLowerCase())
  const odd = texts.findIndex((text) => text !== 'true' && text !== 'false')
  if (odd !== -1) report.malformed(wanted[odd]?.path ?? path, `${show(wanted[odd]?.text)} is not true or false`)
  if (variable === undefined) return () => unknown
  return (context) => (texts.includes(String(variable.values(context).length === 0)) ? yes : no)
}

interface Wanted {
  readonly text: string
  readonly path: string
}

/** One value or a list; numbers and booleans count as their text (IAM). An empty list is a list that nothing matches. */
function readValues(values: unknown, path: string, report: Report): Wanted[] {
  const list = Array.isArray(values)
    ? values.map((value: unknown, index) => ({ value, path: `${path}.${index}` }))
    : [{ value: values, path }]
  return list.flatMap(({ value, path }) => {
    if (
      typeof value === 'string' ||
      typeof value === 'boolean' ||
      (typeof value === 'number' && Number.isFinite(value))
    ) {
      return [{ text: String(value), path }]
    }
    report.malformed(path, `a condition's value must be text, a number or a boolean, and is ${show(value)}`)
    return []
  })
}
