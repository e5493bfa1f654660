import type { Node } from './ast.ts'
import { compileExpression, type CompiledExpression } from './expression.ts'
import { messageFunctions, ruleFunctions } from './functions.ts'
import { defaultExpressionLimits, type ExpressionLimits } from './limits.ts'
import type { Subject } from './subject.ts'

/** An expression of a rule, compiled with the functions of rules. */
export interface RuleExpression {
  readonly compiled: CompiledExpression
  /** Whether it is answered without jsonata. */
  readonly direct: boolean
  /** Over the payload with doubles. Rejects with ExpressionError EXPRESSION_FAILED. */
  evaluate(subject: Subject): unknown
  /** Over the payload as it came: `ExactNumber`s that are only copied are in the result. */
  evaluateExactly(subject: Subject): unknown
}

/**
 * Compiles an expression of a rule. Throws ExpressionError EXPRESSION_INVALID. Where it is no more than a call such as
 * `$topic(4)`, the answer is given at once, without jsonata; otherwise evaluations are promises.
 */
export function compileRuleExpression(text: string, limits?: Partial<ExpressionLimits>): RuleExpression {
  const options = { functions: ruleFunctions, ...(limits !== undefined && { limits }) }
  const compiled = compileExpression(text, options)
  let exact: CompiledExpression | undefined
  const direct = directCall(compiled.ast)
  if (direct !== undefined) return { compiled, direct: true, evaluate: direct, evaluateExactly: direct }
  const evaluate = async (subject: Subject) => compiled.evaluate(subject.payload.value, subject.bindings)
  return {
    compiled,
    direct: false,
    evaluate,
    evaluateExactly(subject) {
      if (!subject.payload.mayNeedExact) return evaluate(subject)
      exact ??= compileExpression(text, { ...options, exact: true })
      return evaluateExact(exact, subject)
    },
  }
}

async function evaluateExact(expression: CompiledExpression, subject: Subject): Promise<unknown> {
  const { payload, bindings } = subject
  return expression.evaluate(expression.exact ? payload.exactValue : payload.value, bindings)
}

/** `$name()` or `$name(<number or text>)` of a function that asks about the message, and nothing around it. */
function directCall(ast: Node): ((subject: Subject) => unknown) | undefined {
  const { type, procedure, arguments: args = [], predicate, group } = ast
  if (type !== 'function' || procedure?.type !== 'variable' || args.length > 1) return undefined
  if (predicate !== undefined || group !== undefined) return undefined
  const called = messageFunctions.get(String(procedure.value))
  if (called === undefined) return undefined
  const [argument] = args
  if (argument === undefined) return (subject) => settled(() => called.read(subject))
  const kind = called.signature[1] === 'n' ? 'number' : 'string'
  if (called.signature.startsWith('<:') || argument.type !== kind || argument.predicate !== undefined) return undefined
  return (subject) => settled(() => called.read(subject, argument.value))
}

/** What fails fails like any evaluation: as a promise. */
function settled(read: () => unknown): unknown {
  try {
    return read()
  } catch (error) {
    return Promise.reject(error)
  }
}

export const resultBytes = (limits?: Partial<ExpressionLimits>): number =>
  limits?.resultBytes ?? defaultExpressionLimits.resultBytes
