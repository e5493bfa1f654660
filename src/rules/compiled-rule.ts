import { SluiceError } from '../core/errors.ts'
import type { RuleDefinition } from '../core/rule.ts'
import { ExpressionError } from './expression-error.ts'
import type { ExpressionLimits } from './limits.ts'
import { compileOptions, type CompiledOptions } from './options.ts'
import { compileRuleExpression, type RuleExpression } from './rule-expression.ts'

/** A rule with its expressions and templates compiled. */
export interface CompiledRule {
  readonly definition: RuleDefinition
  readonly where: RuleExpression | undefined
  readonly select: RuleExpression | undefined
  readonly to: readonly CompiledAction[]
  readonly onError: readonly CompiledErrorAction[]
}

export interface CompiledAction {
  readonly worker: string
  /** Its place in `to`; error actions count on behind them. */
  readonly action: number
  readonly options: CompiledOptions
}

export interface CompiledErrorAction extends CompiledAction {
  readonly on: readonly ('delivery' | 'evaluation')[]
}

/** What is wrong with a rule; `path` is dotted inside it, `offset` counts characters inside the text at that path. */
export interface RuleFault {
  readonly path: string
  readonly error: unknown
}

/** Compiles a rule and collects everything that doesn't parse. `rule` is to be used where there are no faults. */
export function compileRule(
  definition: RuleDefinition,
  limits?: Partial<ExpressionLimits>,
): { readonly rule: CompiledRule; readonly faults: readonly RuleFault[] } {
  const faults: RuleFault[] = []
  const expression = (path: 'where' | 'select'): RuleExpression | undefined => {
    const text = definition[path]
    try {
      return text === undefined ? undefined : compileRuleExpression(text, limits)
    } catch (error) {
      faults.push({ path, error })
      return undefined
    }
  }
  const options = (list: 'to' | 'onError', index: number): CompiledOptions => {
    const complain = (path: string, error: unknown) => faults.push({ path: `${list}.${index}.with.${path}`, error })
    return compileOptions(definition[list][index]?.with, complain, limits)
  }
  const rule: CompiledRule = {
    definition,
    where: expression('where'),
    select: expression('select'),
    to: definition.to.map(({ worker }, index) => ({ worker, action: index, options: options('to', index) })),
    onError: definition.onError.map(({ worker, on }, index) => ({
      worker,
      on,
      action: definition.to.length + index,
      options: options('onError', index),
    })),
  }
  return { rule, faults }
}

/** As `compileRule`; throws SluiceError EXPRESSION_INVALID, which `sluice check` would have said before. */
export function requireRule(definition: RuleDefinition, limits?: Partial<ExpressionLimits>): CompiledRule {
  const { rule, faults } = compileRule(definition, limits)
  const [fault] = faults
  if (fault === undefined) return rule
  const { path, error } = fault
  if (!(error instanceof ExpressionError)) throw error
  throw new SluiceError('EXPRESSION_INVALID', `rule "${definition.name}": ${path}: ${error.message}`, { cause: error })
}
