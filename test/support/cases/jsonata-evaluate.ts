import { compileExpression } from '../../../src/rules/expression.ts'

/** What a case allows where it says so, and the limits of rules don't hold: it is about large results or deep recursion. */
export interface CaseLimits {
  /** Milliseconds. */
  readonly timelimit?: number | undefined
  readonly depth?: number | undefined
}

/** Evaluates an expression; throws what the implementation throws, with jsonata's code in `reason` or `code`. */
export type Evaluate = (
  expression: string,
  data: unknown,
  bindings: Readonly<Record<string, unknown>>,
  limits: CaseLimits,
) => Promise<unknown>

/** Expressions as rules run them, with `$eval` switched on: the cases test the language, and rules refuse it on purpose. */
export const evaluateAsRules: Evaluate = async (expression, data, bindings, { timelimit, depth }) => {
  const limits =
    timelimit === undefined
      ? {}
      : { timeoutMs: timelimit, sequence: Infinity, steps: Infinity, ...(depth !== undefined && { stack: depth }) }
  return compileExpression(expression, { allowEval: true, limits }).evaluate(data, bindings)
}
