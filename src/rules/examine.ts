import { complainAboutAny } from './difference.ts'
import { suggestion } from '../core/nearest.ts'
import { messageOf } from '../core/errors.ts'
import type { RuleDefinition } from '../core/rule.ts'
import { boundNames, type Node, walk } from './ast.ts'
import { compileRule } from './compiled-rule.ts'
import type { CompiledExpression } from './expression.ts'
import { ExpressionError } from './expression-error.ts'
import { ruleFunctions } from './functions.ts'
import { builtins } from './jsonata.ts'
import { defaultExpressionLimits, type ExpressionLimits } from './limits.ts'
import { compileRegex } from './regex.ts'
import { compileTemplate, type Template } from './template.ts'

/** What is wrong in a rule; `path` is dotted inside it, `offset` counts characters inside the text at that path. */
export interface RuleComplaint {
  readonly path: string
  readonly offset?: number
  readonly message: string
}

/**
 * What can be known to be wrong with the expressions and templates of a rule before a message comes: JSONata that doesn't
 * parse, regular expressions that RE2 doesn't have, functions and variables that don't exist, references; and tests that
 * expect what can't be.
 */
export function examineRule(rule: RuleDefinition, limits?: Partial<ExpressionLimits>): readonly RuleComplaint[] {
  const { rule: compiled, faults } = compileRule(rule, limits)
  const complaints = faults.map(({ path, error }) => complaintOf(path, error))
  for (const path of ['where', 'select'] as const) {
    const reference = /\$\{(?:env|file):/.exec(rule[path] ?? '')
    const expression = compiled[path]
    if (expression !== undefined) complaints.push(...examineExpression(expression.compiled, path, 0, limits))
    if (reference === null) continue
    const message = `"${reference[0]}…}" may not stand in a rule; references belong into sluice.yaml, workers/ and identity/`
    complaints.push({ path, offset: reference.index, message })
  }
  for (const list of ['to', 'onError'] as const) {
    for (const [index, { options }] of compiled[list].entries()) {
      for (const { path, template } of options.templates) {
        complaints.push(...examineParts(template, `${list}.${index}.with.${path}`, limits))
      }
    }
  }
  for (const [index, { expect }] of rule.tests.entries()) {
    complaints.push(...complainAboutAny(expect.select, `tests.${index}.expect.select`))
  }
  return complaints
}

/** As `examineRule`, for one text with templates that stands elsewhere, such as a bridge's `thing`. */
export function examineTemplate(
  text: string,
  limits?: Partial<ExpressionLimits>,
): readonly { readonly offset?: number; readonly message: string }[] {
  try {
    const template = compileTemplate(text, limits)
    return template === undefined ? [] : examineParts(template, '', limits).map(withoutPath)
  } catch (error) {
    return [withoutPath(complaintOf('', error))]
  }
}

function withoutPath({ offset, message }: RuleComplaint): { readonly offset?: number; readonly message: string } {
  return { message, ...(offset !== undefined && { offset }) }
}

function complaintOf(path: string, error: unknown): RuleComplaint {
  const offset = error instanceof ExpressionError ? error.offset : undefined
  return { path, message: messageOf(error), ...(offset !== undefined && { offset }) }
}

function examineParts(template: Template, path: string, limits?: Partial<ExpressionLimits>): RuleComplaint[] {
  return template.expressions.flatMap(({ expression, offset }) =>
    examineExpression(expression.compiled, path, offset, limits),
  )
}

function examineExpression(
  expression: CompiledExpression,
  path: string,
  base: number,
  limits: Partial<ExpressionLimits> = {},
): RuleComplaint[] {
  const complaints: RuleComplaint[] = []
  const complain = (offset: number, message: string) => complaints.push({ path, offset: base + offset, message })
  for (const { name, offset, called } of expression.free) {
    if (builtins.has(name) || ruleFunctions.has(name)) continue
    const known = [...builtins.keys(), ...ruleFunctions.keys(), ...boundNames(expression.ast)].filter(
      (name) => name !== 'eval',
    )
    complain(offset, `there is no ${called ? 'function' : 'variable'} $${name}${suggestion(name, known, asVariable)}`)
  }
  walk(expression.ast, (node) => {
    const name = calledWithoutDollar(node)
    if (name !== undefined) complain(name.offset, name.message)
    const regex = node.type === 'regex' ? complaintAboutRegex(node, limits) : undefined
    if (regex !== undefined) complain(regexOffset(node, expression.text), regex)
  })
  return complaints
}

/** `topic(2)`: to JSONata a field named `topic`, and no payload holds a function. */
function calledWithoutDollar(node: Node): { readonly offset: number; readonly message: string } | undefined {
  const step = node.type === 'function' && node.procedure?.type === 'path' ? node.procedure.steps?.at(-1) : undefined
  if (step?.type !== 'name') return undefined
  const name = String(step.value)
  const offset = Math.max(0, (step.position ?? 0) - name.length)
  const known = builtins.has(name) || ruleFunctions.has(name)
  const hint = known
    ? `; write $${name}(…)`
    : suggestion(name, [...builtins.keys(), ...ruleFunctions.keys()], asVariable)
  return { offset, message: `"${name}" is a field and cannot be called${hint}` }
}

function complaintAboutRegex(node: Node, limits: Partial<ExpressionLimits>): string | undefined {
  try {
    compileRegex(node.value as RegExp, limits.regexProgram ?? defaultExpressionLimits.regexProgram)
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

/** jsonata gives the end, flags included. */
function regexOffset(node: Node, text: string): number {
  const { source } = node.value as RegExp
  const at = text.lastIndexOf(`/${source}/`, node.position ?? text.length)
  return at === -1 ? Math.max(0, (node.position ?? 1) - 1) : at
}

function asVariable(name: string): string {
  return `$${name}`
}
