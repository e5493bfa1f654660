import type { Limits } from '../config/sluice-schema.ts'
import type { ExpressionLimits } from '../rules/limits.ts'

/** The limits of expressions as rules/ names them, from sluice.yaml. */
export function expressionLimits({ expression }: Limits): Partial<ExpressionLimits> {
  const { steps, timeout, stack, sequence, result } = expression
  return { steps, timeoutMs: timeout, stack, sequence, resultBytes: result }
}
