import { ExpressionError } from './expression-error.ts'
import type { ExpressionLimits } from './limits.ts'
import { ExactNumber } from './exact-numbers.ts'
import { toJson, toPlain } from './result.ts'
import { compileRuleExpression, resultBytes, type RuleExpression } from './rule-expression.ts'
import type { Subject } from './subject.ts'

/** A text with `${ … }` in it, compiled. */
export interface Template {
  readonly expressions: readonly { readonly expression: RuleExpression; readonly offset: number }[]
  /** Whether every part is answered at once, without jsonata; then `render` never returns a promise unless it fails. */
  readonly direct: boolean
  /**
   * What it says about a message. A text that is one template and nothing else gives the value as it is (a number stays a
   * number, undefined leaves the option out); any other gives text, in which undefined is empty and objects are JSON.
   * Where no part of it needs jsonata, the value itself; otherwise a promise, rejecting with ExpressionError.
   */
  render(subject: Subject): unknown
}

type Part = string | { readonly expression: RuleExpression; readonly offset: number }

/**
 * Compiles the templates of a text; undefined where there is none. Throws ExpressionError EXPRESSION_INVALID with the
 * offset inside the whole text. What stands inside is JSONata, with braces, strings and regular expressions of its own, so
 * a template ends at the first brace that leaves an expression that parses.
 */
export function compileTemplate(text: string, limits?: Partial<ExpressionLimits>): Template | undefined {
  if (!text.includes('${')) return undefined
  const parts = partsOf(text, limits)
  const expressions = parts.filter((part) => typeof part !== 'string')
  const direct = expressions.every(({ expression }) => expression.direct)
  const bytes = resultBytes(limits)
  const [only] = expressions
  if (parts.length === 1 && only !== undefined) {
    return {
      expressions,
      direct,
      render: (subject) => plainValue(only.expression.evaluateExactly(subject), bytes),
    }
  }
  return { expressions, direct, render: (subject) => renderText(parts, subject, bytes) }
}

function partsOf(text: string, limits: Partial<ExpressionLimits> | undefined): Part[] {
  const parts: Part[] = []
  let at = 0
  for (let start = text.indexOf('${'); start !== -1; start = text.indexOf('${', at)) {
    if (start > at) parts.push(text.slice(at, start))
    const { expression, end } = readExpression(text, start + 2, limits)
    parts.push({ expression, offset: start + 2 })
    at = end + 1
  }
  if (at < text.length) parts.push(text.slice(at))
  return parts
}

/** Expressions in a text that a template can be tried with; each costs a parse. */
const mostTries = 100

function readExpression(
  text: string,
  start: number,
  limits: Partial<ExpressionLimits> | undefined,
): { readonly expression: RuleExpression; readonly end: number } {
  refuseReference(text, start)
  let first: ExpressionError | undefined
  let tries = 0
  for (let end = text.indexOf('}', start); end !== -1 && tries < mostTries; end = text.indexOf('}', end + 1)) {
    tries += 1
    const inner = text.slice(start, end)
    if (inner.trim() === '') throw invalid('a template is empty: ${ }', start - 2)
    try {
      return { expression: compileRuleExpression(inner, limits), end }
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error
      const placed = invalid(error.message, start + (error.offset ?? 0), error.reason)
      // A syntax error may only mean that the brace belonged to the expression; any other is final.
      if (error.reason?.startsWith('S') !== true) throw placed
      first ??= placed
    }
  }
  throw first ?? invalid('a template has no closing brace: ${ … }', start - 2)
}

function refuseReference(text: string, start: number): void {
  const reference = /^(?:env|file):/.exec(text.slice(start, start + 5))
  if (reference === null) return
  const message = `"\${${reference[0]}…}" may not stand in a rule; references belong into sluice.yaml, workers/ and identity/`
  throw invalid(message, start - 2, 'REFERENCE')
}

function invalid(message: string, offset: number, reason?: string): ExpressionError {
  return new ExpressionError('EXPRESSION_INVALID', message, { offset, reason })
}

function plainValue(value: unknown, bytes: number): unknown {
  if (value instanceof Promise) return value.then((settled) => toPlain(settled, bytes))
  return toPlain(value, bytes)
}

function renderText(parts: readonly Part[], subject: Subject, bytes: number): unknown {
  const values = parts.map((part) => (typeof part === 'string' ? part : part.expression.evaluateExactly(subject)))
  if (!values.some((value) => value instanceof Promise)) return values.map((value) => textFor(value, bytes)).join('')
  return Promise.all(values).then((settled) => settled.map((value) => textFor(value, bytes)).join(''))
}

function textFor(value: unknown, bytes: number): string {
  if (value === undefined) return ''
  if (typeof value === 'string') return value
  return value instanceof ExactNumber ? value.text : toJson(value, bytes)
}
