import { type Node, walk } from './ast.ts'
import { exceeds } from './exceeds.ts'
import { ExpressionError } from './expression-error.ts'
import type { Implementation } from './jsonata.ts'
import type { ExpressionLimits } from './limits.ts'

/** Items of an array that cost as much as a step: they take memory where steps take time. */
const itemsPerStep = 8

/** Steps between two looks at the time. */
const stepsPerLook = 16

/**
 * Counts the steps of an evaluation, and the time that passes. jsonata asks for `timeout` twice at each node that it evaluates (and
 * once at the start), which is the one place where it can be stopped without paying for a callback at every node. It is told that
 * there is no timeout: its own goes by the wall clock, and an evaluation during which that is put forward would fail.
 */
export class Budget {
  readonly #limits: ExpressionLimits
  #left = 0
  #until = 0

  constructor(limits: ExpressionLimits) {
    this.#limits = limits
  }

  refill(): void {
    this.#left = this.#limits.steps * 2 + 1
    this.#until = performance.now() + this.#limits.timeoutMs
  }

  get timeout(): number {
    this.#left -= 1
    if (this.#left < 0) throw this.#failure('STEPS', `took more than ${this.#limits.steps} steps`)
    if (this.#left % stepsPerLook < 1 && performance.now() > this.#until)
      throw this.#failure('D1012', `took more than ${this.#limits.timeoutMs} ms`)
    return Infinity
  }

  /** Counts a value that was made at one blow: an array by its items, a text against its limit. Gives it back. */
  charge(value: unknown): unknown {
    if (Array.isArray(value)) this.#left -= (value.length / itemsPerStep) * 2
    if (typeof value === 'string' && value.length > this.#limits.textLength) {
      throw this.#failure('TEXT_LENGTH', `built a text of over ${this.#limits.textLength} characters`)
    }
    return value
  }

  /** Refuses a value that would be over the limit when it is written out. Gives it back. */
  measure(value: unknown): unknown {
    if (!exceeds(value, this.#limits.textLength)) return value
    throw this.#failure('TEXT_LENGTH', `looked at a value of over ${this.#limits.textLength} characters`)
  }

  #failure(reason: string, sentence: string): ExpressionError {
    return new ExpressionError('EXPRESSION_FAILED', `the expression ${sentence}`, { reason })
  }
}

/** No expression can spell these, so none can shadow them. */
export const chargeName = '\0charge'
export const measureName = '\0measure'

/**
 * Has every range charged, and, in an expression with functions of its own, which can repeat things, every `&`, whose
 * operands, and those of `=` and `!=`, are measured too: twenty doublings of a text or an array are few steps, and what
 * comes of them takes for ever to build or to look at.
 */
export function meterOperators(root: Node): void {
  const found: Node[] = []
  let repeats = false
  walk(root, (node) => {
    if (node.type === 'lambda') repeats = true
    if (node.type === 'binary') found.push(node)
  })
  for (const node of found) {
    const operator = String(node.value)
    if (repeats && ['&', '=', '!='].includes(operator))
      for (const operand of operandsOf(node)) wrap(operand, measureName)
    if (operator === '..' || (repeats && operator === '&')) wrap(node, chargeName)
  }
}

/** Literals cost what the author wrote. */
function operandsOf({ lhs, rhs }: Node): Node[] {
  return [lhs, rhs].filter(
    (operand) => operand !== undefined && !Array.isArray(operand) && !isLiteral(operand),
  ) as Node[]
}

function isLiteral({ type }: Node): boolean {
  return type === 'string' || type === 'number' || type === 'value'
}

/** Puts a call around a node, in its place. */
export function wrap(node: Node, name: string): void {
  const inner = { ...node }
  const position = node.position ?? 0
  for (const key of Object.keys(node)) delete node[key as keyof Node]
  const procedure: Node = { type: 'variable', value: name, position }
  Object.assign(node, { type: 'function', value: '(', position, arguments: [inner], procedure })
}

/**
 * A function whose result is charged. To jsonata it looks like the function itself: it reads the parameters from the source
 * when a function is applied in part, and hands it as many arguments in `$map($f)` as it takes, which is `arity`.
 */
export function charged(implementation: Implementation, budget: Budget, arity: number): Implementation {
  const wrapper: Implementation = function (...args) {
    const result = implementation.apply(this, args)
    return result instanceof Promise ? result.then((value) => budget.charge(value)) : budget.charge(result)
  }
  return Object.defineProperties(wrapper, {
    length: { value: arity },
    toString: { value: () => implementation.toString() },
  })
}
