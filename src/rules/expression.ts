import { boundNames, type Node, variableUses, type VariableUse } from './ast.ts'
import { arityOf, boundedBuiltins, repeatable, signatureOf } from './builtins.ts'
import { keepExactNumbers, plainName, withoutExactNumbers } from './exact-numbers.ts'
import { ExpressionError, toExpressionError } from './expression-error.ts'
import { type Implementation, type JsonataExpression, parse } from './jsonata.ts'
import { defaultExpressionLimits, type ExpressionLimits } from './limits.ts'
import { keyName, refuseMark, workedOutKeys } from './marks.ts'
import { Budget, chargeName, charged, measureName, meterOperators, wrap } from './metering.ts'
import { createRegexEngine } from './regex.ts'
import { inTurn } from './turn.ts'

/** A function that expressions may call as `$name`; the signature is jsonata's (`<s-n?:s>`). */
export interface ExpressionFunction {
  readonly signature: string
  readonly implementation: Implementation
}

export interface ExpressionOptions {
  readonly limits?: Partial<ExpressionLimits>
  readonly functions?: ReadonlyMap<string, ExpressionFunction>
  /** `$eval` runs text as an expression, and text comes from devices, so it is refused unless asked for. */
  readonly allowEval?: boolean
  /** Prepares it for `ExactNumber`s in its input, where it can be: those that are only copied are in the result. */
  readonly exact?: boolean
}

/** A JSONata expression, ready to run as often as one likes. */
export interface CompiledExpression {
  readonly text: string
  /** jsonata's syntax tree. */
  readonly ast: Node
  /** Variables it reads and doesn't bind itself. */
  readonly free: readonly VariableUse[]
  /** Whether its input may hold `ExactNumber`s. */
  readonly exact: boolean
  /**
   * jsonata's result: undefined, or a JSON value in which objects have no prototype and arrays may be sequences.
   * Rejects with ExpressionError EXPRESSION_FAILED, also when a limit is reached.
   */
  evaluate(input: unknown, bindings?: Readonly<Record<string, unknown>>): Promise<unknown>
}

/** Parses an expression and binds its functions. Throws ExpressionError EXPRESSION_INVALID. */
export function compileExpression(text: string, options: ExpressionOptions = {}): CompiledExpression {
  const limits = { ...defaultExpressionLimits, ...options.limits }
  const budget = new Budget(limits)
  const expression = parseWith(text, limits, budget)
  const ast = expression.ast()
  const bound = boundNames(ast)
  const free = variableUses(ast).filter(({ name }) => !bound.has(name))
  refuseEval(free, options.allowEval ?? false)
  bindFunctions(expression, free, limits, budget, options.functions)
  meterOperators(ast)
  for (const key of workedOutKeys(ast)) wrap(key, keyName)
  expression.registerFunction(keyName, refuseMark)
  expression.registerFunction(chargeName, (value: unknown) => budget.charge(value))
  expression.registerFunction(measureName, (value: unknown) => budget.measure(value))
  const exact = options.exact === true && keepExactNumbers(ast)
  if (exact) expression.registerFunction(plainName, withoutExactNumbers)

  return {
    text,
    ast,
    free,
    exact,
    evaluate: (input, bindings) =>
      inTurn(async () => {
        budget.refill()
        try {
          return await expression.evaluate(input, bindings)
        } catch (error) {
          throw toExpressionError('EXPRESSION_FAILED', error, text)
        }
      }),
  }
}

function parseWith(text: string, limits: ExpressionLimits, budget: Budget): JsonataExpression {
  const { stack, sequence } = limits
  const RegexEngine = createRegexEngine(limits)
  const options = {
    get timeout() {
      return budget.timeout
    },
    stack,
    sequence,
    RegexEngine,
  }
  try {
    return parse(text, options)
  } catch (error) {
    throw toExpressionError('EXPRESSION_INVALID', error, text)
  }
}

function refuseEval(free: readonly VariableUse[], allowed: boolean): void {
  const use = allowed ? undefined : free.find(({ name }) => name === 'eval')
  if (use === undefined) return
  const message = '$eval is not available: it would run text that a device sends as an expression'
  throw new ExpressionError('EXPRESSION_INVALID', message, { reason: 'EVAL', offset: use.offset })
}

function bindFunctions(
  expression: JsonataExpression,
  free: readonly VariableUse[],
  limits: ExpressionLimits,
  budget: Budget,
  functions: ReadonlyMap<string, ExpressionFunction> | undefined,
): void {
  const bounded = boundedBuiltins(limits)
  for (const name of new Set(free.map(({ name }) => name))) {
    const own = functions?.get(name)
    const replacement = bounded.get(name) ?? repeatable(name)
    if (own !== undefined) expression.registerFunction(name, own.implementation, own.signature)
    else if (replacement !== undefined)
      expression.registerFunction(name, charged(replacement, budget, arityOf(name)), signatureOf(name))
  }
}
