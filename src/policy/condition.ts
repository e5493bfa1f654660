import { type Certainty, certain, everyOf, not, no, someOf, unknown, yes } from './certainty.ts'
import type { PolicyContext } from './context.ts'
import { complainUnknown } from './unknown.ts'
import { findOperator, type NamedOperator, operatorNames, type Quantifier } from './operators.ts'
import { Report } from './report.ts'
import { parseTemplate } from './template.ts'
import { isFields, show } from './values.ts'
import type { Variable } from './variable.ts'
import { alias, findConditionKey, variableNames } from './variables.ts'

/** The conditions of a statement: all of them must hold. */
export interface Conditions {
  holds(context: PolicyContext): Certainty
  /** Names of the keys that are missing, and of the variables in their values that have none. */
  missing(context: PolicyContext): readonly string[]
}

/** Reads a statement's `Condition`: operator → key → value or values. Absent or empty: there is nothing to ask. */
export function compileConditions(value: unknown, path: string, report: Report): Conditions | undefined {
  if (value === undefined) return undefined
  if (!isFields(value)) {
    report.malformed(path, `Condition must be a map of operators, and is ${show(value)}`)
    return undefined
  }
  const list: Conditions[] = []
  for (const [name, block] of Object.entries(value)) {
    const at = `${path}.${name}`
    const operator = findOperator(name)
    if (operator === undefined) report.malformed(at, complainUnknown('condition operator', name, operatorNames))
    else if (!isFields(block)) report.malformed(at, `${name} must be a map of keys to values, and is ${show(block)}`)
    else {
      const entries = Object.entries(block)
      if (entries.length === 0) report.doubtful(at, `${name} is empty: it asks for nothing`)
      for (const [key, values] of entries) list.push(compileCondition(operator, key, values, `${at}.${key}`, report))
    }
  }
  const [only] = list
  if (only === undefined || list.length === 1) return only
  return {
    holds: (context) => everyOf(list, (one) => one.holds(context)),
    missing: (context) => list.flatMap((one) => one.missing(context)),
  }
}

function compileCondition(
  operator: NamedOperator,
  key: string,
  values: unknown,
  path: string,
  report: Report,
): Conditions {
  const wanted = readValues(values, path, report)
  const variable = findConditionKey(key)
  if (variable === undefined) report.doubtful(path, complainUnknown('condition key', key, variableNames))
  else {
    report.uses(variable.name)
    if (variable.name === alias.name) report.note(path, `${alias.name} is in no list of AWS's; write ${alias.of}`)
  }
  // Null asks for what is missing, so a missing key is an answer there.
  if (operator.kind === 'null') return { holds: compileNull(variable, wanted, path, report), missing: () => [] }

  const { quantifier, ifExists } = operator
  const { prepare, negated } = operator.operator
  const tests = wanted.map(({ text, path }) => prepare(text, path, report))
  const missing = (context: PolicyContext) => [
    ...(variable === undefined || variable.values(context).length === 0 ? [variable?.name ?? key] : []),
    ...wanted.flatMap(({ text }) => parseTemplate(text, false, path, new Report()).missing(context)),
  ]
  // Nobody knows what a key that we don't have would hold. Taking it for a missing key would let a misspelt one allow things.
  if (variable === undefined) return { holds: () => unknown, missing }
  const whenMissing = certain(ifExists || quantifier === 'all' || (quantifier === 'one' && negated))
  const holds = (context: PolicyContext): Certainty => {
    const given = variable.values(context)
    if (given.length === 0) return whenMissing
    return quantify(quantifier, given, (value) => {
      if (value === undefined) return unknown
      const matched = someOf(tests, (test) => test(value, context))
      return negated ? not(matched) : matched
    })
  }
  return { holds, missing }
}

function quantify<Item>(quantifier: Quantifier, items: readonly Item[], ask: (item: Item) => Certainty): Certainty {
  const [only] = items
  if (only !== undefined && items.length === 1) return ask(only)
  if (quantifier === 'any') return someOf(items, ask)
  const all = everyOf(items, ask)
  // IAM leaves open what a plain operator means for a key with several values; it is sure only where all agree.
  return quantifier === 'all' || all === someOf(items, ask) ? all : unknown
}

/** `Null`: `"true"` holds where the key is missing, `"false"` where it is there. */
function compileNull(
  variable: Variable | undefined,
  wanted: readonly Wanted[],
  path: string,
  report: Report,
): Conditions['holds'] {
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
