import type { Node } from './ast.ts'
import { isFunction } from './jsonata.ts'
import { rawJson } from './raw-json.ts'

/**
 * A number of a payload that a double can't hold, such as 9007199254740993 or 0.12345678901234567890. It looks to jsonata
 * like an object without fields; `JSON.stringify` writes the number as it came.
 */
export class ExactNumber {
  readonly #text: string
  constructor(text: string) {
    this.#text = text
  }

  /** The digits as they came. */
  get text(): string {
    return this.#text
  }

  /** The nearest double; infinite where there is none. */
  get value(): number {
    return Number(this.#text)
  }

  toJSON(): unknown {
    return rawJson(this.#text)
  }
}

/** No expression can spell it, so none can shadow it. */
export const plainName = '\0plain'

/** What `keepExactNumbers` puts around every operand: the value with doubles. */
export function withoutExactNumbers(value: unknown): unknown {
  return replaced(value, new Map())
}

/** What is shared inside the value stays shared: `done` knows what became of it. */
function replaced(value: unknown, done: Map<object, unknown>): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof ExactNumber) return value.value
  if (isFunction(value)) return value
  if (done.has(value)) return done.get(value)
  const plain = Array.isArray(value) ? replacedItems(value, done) : replacedFields(value, done)
  done.set(value, plain)
  return plain
}

function replacedFields(value: object, done: Map<object, unknown>): object {
  let copy: Record<string, unknown> | undefined
  for (const [key, field] of Object.entries(value)) {
    const plain = replaced(field, done)
    if (plain === field) continue
    copy ??= Object.assign(Object.create(null), value) as Record<string, unknown>
    copy[key] = plain
  }
  return copy ?? value
}

/** jsonata keeps marks on its arrays (`sequence`, `keepSingleton`, …), which a copy must have; its `push` is bound to the array. */
function replacedItems(items: readonly unknown[], done: Map<object, unknown>): readonly unknown[] {
  const plain = items.map((item) => replaced(item, done))
  if (plain.every((item, index) => item === items[index])) return items
  const marks = Object.entries(Object.getOwnPropertyDescriptors(items))
  return Object.defineProperties(plain, Object.fromEntries(marks.filter(([key]) => !/^(?:\d+|length|push)$/.test(key))))
}

/**
 * Prepares a syntax tree for input that holds `ExactNumber`s: what is only copied from input to result keeps them, and
 * every operand of an operator, a comparison, a condition, a predicate and a function gets doubles. False, with the tree
 * unchanged, where that can't be told; then the input must hold doubles alone.
 */
export function keepExactNumbers(root: Node): boolean {
  const rewrites: (() => void)[] = []
  const told = new Rewriter(rewrites).copied(root)
  if (told) for (const rewrite of rewrites) rewrite()
  return told
}

/** Functions that move values and never look at them. Others get doubles. */
const moving = new Set('map filter single each sift append merge reverse zip lookup count exists shuffle'.split(' '))

/** Functions that take their first argument from the context when it is left out, and how many they have when it isn't. */
const contextual = new Map([
  ...named(1, 'string length number floor ceil round abs sqrt boolean not trim lowercase uppercase clone keys spread'),
  ...named(1, 'fromMillis toMillis formatBase encodeUrl encodeUrlComponent decodeUrl decodeUrlComponent'),
  ...named(1, 'base64encode base64decode eval'),
  ...named(
    2,
    'substring substringBefore substringAfter pad match contains split formatNumber formatInteger parseInteger',
  ),
  ...named(2, 'power lookup sift each'),
  ...named(3, 'replace'),
])

function named(count: number, names: string): (readonly [string, number])[] {
  return names.split(' ').map((name) => [name, count] as const)
}

/** Collects what is to be changed; its methods are false where a tree holds something that isn't understood. */
class Rewriter {
  readonly #rewrites: (() => void)[]
  constructor(rewrites: (() => void)[]) {
    this.#rewrites = rewrites
  }

  /** A node whose value goes on as it is. */
  copied(node: Node): boolean {
    if (!this.#additions(node)) return false
    switch (node.type) {
      case 'path':
        return (node.steps ?? []).every((step) => this.copied(step))
      case 'block':
        return (node.expressions ?? []).every((inner) => this.copied(inner))
      case 'bind':
        return node.rhs !== undefined && this.copied(node.rhs)
      case 'condition':
        return this.#condition(node)
      case 'unary':
        return this.#unary(node)
      case 'binary':
        return this.#binary(node)
      case 'function':
        return this.#call(node)
      case 'lambda':
        return node.signature === undefined && node.body !== undefined && this.copied(node.body)
      case 'apply':
        return this.#apply(node)
      case 'sort':
        return (node.terms ?? []).every((term) =>
          this.#touched(term.expression, (wrapped) => (term.expression = wrapped)),
        )
      case 'name':
      case 'string':
      case 'number':
      case 'value':
      case 'variable':
      case 'wildcard':
      case 'descendant':
      case 'parent':
      case 'regex':
        return true
      default:
        return false // partial application, transformation
    }
  }

  /** A node whose value is looked at: it gets doubles. `replace` puts the wrapped node in its place. */
  #touched(node: Node, replace: (wrapped: Node) => void): boolean {
    if (node.type === 'number' || node.type === 'string' || node.type === 'value' || node.type === 'regex') return true
    if (node.type === 'lambda' || (node.type === 'operator' && node.value === '?')) return this.copied(node)
    const position = node.position ?? 0
    const procedure: Node = { type: 'variable', value: plainName, position }
    this.#rewrites.push(() => replace({ type: 'function', value: '(', position, arguments: [node], procedure }))
    return this.copied(node)
  }

  /** Predicates and groups, which any node may have. */
  #additions(node: Node): boolean {
    const stages = [...(node.stages ?? []), ...(node.predicate ?? [])]
    const pairs = node.group?.lhs ?? []
    return (
      stages.every(
        (stage) => stage.expr === undefined || this.#touched(stage.expr, (wrapped) => (stage.expr = wrapped)),
      ) && pairs.every((pair) => this.#pair(pair))
    )
  }

  #pair(pair: [Node, Node]): boolean {
    return this.#touched(pair[0], (wrapped) => (pair[0] = wrapped)) && this.copied(pair[1])
  }

  #condition(node: Node): boolean {
    if (node.condition === undefined || node.then === undefined) return false
    return (
      this.#touched(node.condition, (wrapped) => (node.condition = wrapped)) &&
      this.copied(node.then) &&
      (node.else === undefined || this.copied(node.else))
    )
  }

  #unary(node: Node): boolean {
    if (node.value === '[') return (node.expressions ?? []).every((item) => this.copied(item))
    if (node.value === '{') return Array.isArray(node.lhs) && node.lhs.every((pair) => this.#pair(pair))
    return node.expression !== undefined && this.#touched(node.expression, (wrapped) => (node.expression = wrapped))
  }

  #binary(node: Node): boolean {
    if (node.lhs === undefined || Array.isArray(node.lhs) || node.rhs === undefined) return false
    return (
      this.#touched(node.lhs, (wrapped) => (node.lhs = wrapped)) &&
      this.#touched(node.rhs, (wrapped) => (node.rhs = wrapped))
    )
  }

  #call(node: Node): boolean {
    const args = node.arguments ?? []
    const { procedure } = node
    if (procedure === undefined) return false
    // A function written on the spot looks at its arguments in its body, which is told about there.
    if (procedure.type !== 'variable') return this.copied(procedure) && args.every((arg) => this.copied(arg))
    const name = String(procedure.value)
    if (args.length < (contextual.get(name) ?? 0)) return false
    if (moving.has(name)) return args.every((arg) => this.copied(arg))
    return args.every((arg, index) => this.#touched(arg, (wrapped) => (args[index] = wrapped)))
  }

  #apply(node: Node): boolean {
    if (node.lhs === undefined || Array.isArray(node.lhs) || node.rhs === undefined) return false
    const { rhs } = node
    // The left side is the first argument of the right one, which is then one argument short.
    if (rhs.type !== 'function' || rhs.procedure?.type !== 'variable') return false
    const args = rhs.arguments ?? []
    const moves = moving.has(String(rhs.procedure.value))
    const inside = (arg: Node, index: number) =>
      moves ? this.copied(arg) : this.#touched(arg, (wrapped) => (args[index] = wrapped))
    const left = moves ? this.copied(node.lhs) : this.#touched(node.lhs, (wrapped) => (node.lhs = wrapped))
    return left && this.#additions(rhs) && args.every(inside)
  }
}
