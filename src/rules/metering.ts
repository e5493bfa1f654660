import { type Node, walk } from './ast.ts'
import { ExpressionError } from './expression-error.ts'
import type { Implementation } from './jsonata.ts'
import type { ExpressionLimits } from './limits.ts'

/** Items of an array that cost as much as a step: they take memory where steps take time. */
const itemsPerStep = 8

/**
 * Counts the steps of an evaluation. jsonata asks for `timeout` twice at each node that it evaluates (and once at the
 * start), which is the one place where it can be stopped without paying for a callback at every node.
 */
export class Budget {
  readonly #limits: ExpressionLimits
  #left = 0

  constructor(limits: ExpressionLimits) {
    this.#limits = limits
  }

  refill(): void {
    this.#left = this.#limits.steps * 2 + 1
  }

  get timeout(): number {
    this.#left -= 1
    if (this.#left < 0) throw this.#failure('STEPS', `took more than ${this.#limits.steps} steps`)
    return this.#limits.timeoutMs
  }

  /** Counts a value that was made at one blow: an array by its items, a text against its limit. Gives it back. */
  charge(value: unknown): unknown {
    if (Array.isArray(value)) this.#left -= (value.length / itemsPerStep) * 2
    if (typeof value === 'string' && value.length > this.#limits.textLength) {
      throw this.#failure('TEXT_LENGTH', `built a text of over ${this.#limits.textLength} characters`)
    }
    return value
  }

  #failure(reason: string, sentence: string): ExpressionError {
    return new ExpressionError('EXPRESSION_FAILED', `the expression ${sentence}`, { reason })
  }
}

/** No expression can spell it, so none can shadow it. */
export const chargeName = '\0charge'

/**
 * Has every range charged, and, in an expression with functions of its own, which can repeat things, every `&`: ten
 * doublings of a text are few steps and much memory. True where something is.
 */
export function meterOperators(root: Node): boolean {
  const metered = new Set(['..'])
  const found: Node[] = []
  walk(root, (node) => {
    if (node.type === 'lambda') metered.add('&')
    if (node.type === 'binary') found.push(node)
  })
  const chosen = found.filter(({ value }) => metered.has(String(value)))
  for (const node of chosen) chargeResult(node)
  return chosen.length > 0
}

function chargeResult(node: Node): void {
  const inner = { ...node }
  const position = node.position ?? 0
  for (const key of Object.keys(node)) delete node[key as keyof Node]
  const procedure: Node = { type: 'variable', value: chargeName, position }
  Object.assign(node, { type: 'function', value: '(', position, arguments: [inner], procedure })
}

/** A function whose result is charged. To jsonata it looks like the function itself, whose parameters it reads. */
export function charged(implementation: Implementation, budget: Budget): Implementation {
  const wrapper: Implementation = function (...args) {
    const result = implementation.apply(this, args)
    return result instanceof Promise ? result.then((value) => budget.charge(value)) : budget.charge(result)
  }
  return Object.defineProperties(wrapper, {
    length: { value: implementation.length },
    toString: { value: () => implementation.toString() },
  })
}
