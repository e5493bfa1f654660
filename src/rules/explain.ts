import type { RuleDefinition } from '../core/rule.ts'
import type { Node } from './ast.ts'
import type { CompiledExpression } from './expression.ts'
import { requireRule } from './compiled-rule.ts'
import { messageFunctions } from './functions.ts'

/** How an expression is run. `direct`: a lone call such as `$topic(4)`, answered without jsonata. */
export type Evaluation = 'interpreted by jsonata' | 'direct'

export interface ExplainedExpression {
  /** The JSONata that runs. */
  readonly jsonata: string
  readonly evaluation: Evaluation
  /** Fields of the payload that it names from the top, dotted, as far as they can be told without running it. */
  readonly fields: readonly string[]
  /** What it asks about the message besides its payload, as `$topic`. */
  readonly message: readonly string[]
}

export interface ExplainedAction {
  readonly worker: string
  /** Its number in deduplication ids. */
  readonly action: number
  /** When it runs, for an error action. */
  readonly on?: readonly ('delivery' | 'evaluation')[]
  readonly templates: readonly (ExplainedExpression & { readonly path: string })[]
}

/** What `sluice explain RULE` shows. Nothing is compiled in this version: expressions are interpreted for each message. */
export interface Explanation {
  readonly name: string
  readonly topicFilters: readonly string[]
  readonly where?: ExplainedExpression
  /** Absent: the payload goes byte for byte. */
  readonly select?: ExplainedExpression
  readonly to: readonly ExplainedAction[]
  readonly onError: readonly ExplainedAction[]
}

/** Throws SluiceError EXPRESSION_INVALID where the rule doesn't parse. */
export function explain(definition: RuleDefinition): Explanation {
  const rule = requireRule(definition)
  const action = ({ worker, action, options }: (typeof rule.to)[number]): ExplainedAction => ({
    worker,
    action,
    templates: options.templates.flatMap(({ path, template }) =>
      template.expressions.map(({ expression }) => ({ path, ...explained(expression.compiled, expression.direct) })),
    ),
  })
  return {
    name: definition.name,
    topicFilters: definition.from,
    ...(rule.where !== undefined && { where: explained(rule.where.compiled, rule.where.direct) }),
    ...(rule.select !== undefined && { select: explained(rule.select.compiled, rule.select.direct) }),
    to: rule.to.map(action),
    onError: rule.onError.map((entry) => ({ ...action(entry), on: entry.on })),
  }
}

function explained(expression: CompiledExpression, direct: boolean): ExplainedExpression {
  const asked = expression.free.filter(({ name }) => messageFunctions.has(name)).map(({ name }) => `$${name}`)
  const fields = new Set<string>()
  collectFields(expression.ast, fields)
  return {
    jsonata: expression.text.trim(),
    evaluation: direct ? 'direct' : 'interpreted by jsonata',
    fields: [...fields],
    message: [...new Set(asked)],
  }
}

/** Goes down where the context is still the payload; inside a path, a predicate or a function's body it no longer is. */
function collectFields(node: Node, fields: Set<string>): void {
  if (node.type === 'path') return collectPath(node.steps ?? [], fields)
  if (node.type === 'lambda') return
  const inside: (Node | undefined)[] = Array.isArray(node.lhs) ? node.lhs.flat() : [node.lhs]
  inside.push(node.rhs, node.expression, node.condition, node.then, node.else)
  inside.push(...(node.arguments ?? []), ...(node.expressions ?? []))
  for (const child of inside) if (child !== undefined) collectFields(child, fields)
}

function collectPath(steps: readonly Node[], fields: Set<string>): void {
  const [first] = steps
  if (first === undefined) return
  // `$` and `$$` are the payload; any other first step is an expression about it.
  const fromPayload = first.type === 'variable' && (first.value === '' || first.value === '$')
  if (first.type !== 'name' && !fromPayload) return collectFields(first, fields)
  const named: string[] = []
  for (const step of fromPayload ? steps.slice(1) : steps) {
    if (step.type !== 'name') break
    named.push(String(step.value))
  }
  if (named.length > 0) fields.add(named.join('.'))
}
