import {
  type Alias,
  type Document,
  type LineCounter,
  type Pair,
  type YAMLMap,
  isAlias,
  isMap,
  isScalar,
  isSeq,
} from 'yaml'
import type { Position, Problem } from '../core/problem.ts'
import { type Path, dotted, pathKey } from './path.ts'
import { offsetInside } from './scalar-offset.ts'

/** Mappings and lists inside one another. Nothing that Sluice reads comes near it; a stack overflow lies far beyond. */
export const maxDepth = 64
/** Values that aliases may repeat, all in all: against "billion laughs". */
export const maxAliased = 20_000

/** What became of a text value that held references. */
export interface Substituted {
  readonly text: string
  /** `resolved`: references were replaced. `open`: they were left as they stand, so nothing can be said about the value. */
  readonly state?: 'resolved' | 'open'
  readonly problems?: readonly { readonly message: string; readonly offset: number }[]
  /** What was put in for what, so that no problem ever quotes a resolved value. */
  readonly replaced?: readonly { readonly reference: string; readonly value: string }[]
}

/** Looks at every text value of a file before it is validated. */
export type Substitute = (text: string, path: Path) => Substituted

/** Turns the parser's nodes into a value, noting on the way what positions and problems need. */
export class Reading {
  readonly text: string
  readonly problems: Problem[] = []
  readonly states = new Map<string, 'resolved' | 'open'>()
  /** Set where the value cannot be trusted to mean what the file says. */
  broken = false
  readonly #name: string
  readonly #document: Document.Parsed
  readonly #lines: LineCounter
  readonly #substitute: Substitute
  readonly #anchors = new Map<string, unknown>()
  readonly #targets = new Map<Alias, unknown>()
  readonly #pairs = new WeakMap<YAMLMap, Map<string, Pair>>()
  readonly #replaced = new Map<string, string>()
  /** The outermost alias whose target is being read. */
  #alias: Alias | undefined
  #aliased = 0

  constructor(name: string, text: string, document: Document.Parsed, lines: LineCounter, substitute: Substitute) {
    this.#name = name
    this.text = text
    this.#document = document
    this.#lines = lines
    this.#substitute = substitute
  }

  read(): unknown {
    return this.#valueOf(this.#document.contents, [])
  }

  positionAt(offset: number): Position {
    const { line, col } = this.#lines.linePos(offset)
    return { file: this.#name, line: Math.max(1, line), column: Math.max(1, col) }
  }

  find(path: Path): { readonly node: unknown; readonly key: unknown; readonly complete: boolean } {
    let node = this.#followed(this.#document.contents)
    let key: unknown
    for (const step of path) {
      if (isMap(node)) {
        const pair = this.#pairsOf(node).get(String(step))
        if (pair === undefined) return { node, key, complete: false }
        key = pair.key
        node = this.#followed(pair.value)
      } else if (isSeq(node) && typeof step === 'number' && step in node.items) {
        key = undefined
        node = this.#followed(node.items[step])
      } else return { node, key, complete: false }
    }
    return { node, key, complete: true }
  }

  conceal(message: string): string {
    let clean = message
    for (const [value, reference] of this.#replaced) clean = clean.replaceAll(value, reference)
    return clean
  }

  #valueOf(node: unknown, path: Path): unknown {
    if (this.broken) return null
    if (this.#alias !== undefined && ++this.#aliased > maxAliased)
      return this.#break(this.#alias, path, `aliases repeat more than ${maxAliased} values`)
    if (path.length > maxDepth)
      return this.#break(node, path, `more than ${maxDepth} mappings and lists inside one another`)
    if (isAlias(node)) return this.#aliasValue(node, path)
    const anchor = isScalar(node) || isMap(node) || isSeq(node) ? node.anchor : undefined
    const value = isMap(node)
      ? this.#mapValue(node, path)
      : isSeq(node)
        ? this.#listValue(node.items, path)
        : this.#scalarValue(node, path)
    // Only now: an alias inside its own anchor leads nowhere.
    if (anchor !== undefined && this.#alias === undefined) this.#anchors.set(anchor, node)
    return value
  }

  #aliasValue(alias: Alias, path: Path): unknown {
    const target = this.#targets.get(alias) ?? this.#anchors.get(alias.source)
    if (target === undefined)
      return this.#break(alias, path, `the alias "*${alias.source}" names no anchor that stands before it`)
    this.#targets.set(alias, target)
    const outermost = this.#alias
    this.#alias ??= alias
    const value = this.#valueOf(target, path)
    this.#alias = outermost
    return value
  }

  #mapValue(map: YAMLMap, path: Path): unknown {
    const value: Record<string, unknown> = {}
    const pairs = new Map<string, Pair>()
    for (const pair of map.items) {
      if (!isScalar(pair.key)) {
        this.#break(pair.key, path, 'a key must be plain text')
        continue
      }
      const key = String(pair.key.value)
      const first = pairs.get(key)
      if (first !== undefined) {
        const line = this.positionAt(startOf(first.key) ?? 0).line
        this.#complain(pair.key, [...path, key], `the key "${key}" is here twice; the first is on line ${line}`)
        continue
      }
      pairs.set(key, pair)
      if (key === '__proto__') this.#complain(pair.key, [...path, key], 'the key "__proto__" is not allowed')
      else value[key] = this.#valueOf(pair.value, [...path, key])
    }
    this.#pairs.set(map, pairs)
    return value
  }

  #listValue(items: readonly unknown[], path: Path): unknown {
    return items.map((item, index) => this.#valueOf(item, [...path, index]))
  }

  #scalarValue(node: unknown, path: Path): unknown {
    if (!isScalar(node)) return null
    const { value } = node
    if (typeof value === 'number') {
      const exact = Number.isSafeInteger(value) || !/^[-+]?\d+$/.test(node.source ?? '')
      if (!Number.isFinite(value) || !exact)
        this.#complain(node, path, `the number ${node.source ?? value} cannot be held exactly; put it in quotes`)
      return value
    }
    if (typeof value !== 'string') return typeof value === 'boolean' ? value : null
    const { text, state, problems = [], replaced = [] } = this.#substitute(value, path)
    if (state !== undefined) this.states.set(pathKey(path), state)
    for (const { message, offset } of problems) {
      const position = this.positionAt(offsetInside(this.text, node, offset))
      this.problems.push({ ...position, path: dotted(path), message: this.conceal(message) })
    }
    // One or two characters are no secret, and replacing them would shred the sentence.
    for (const { reference, value: secret } of replaced) if (secret.length > 2) this.#replaced.set(secret, reference)
    return text
  }

  #followed(node: unknown): unknown {
    return isAlias(node) ? this.#targets.get(node) : node
  }

  #pairsOf(map: YAMLMap): Map<string, Pair> {
    return this.#pairs.get(map) ?? new Map()
  }

  #complain(node: unknown, path: Path, message: string): void {
    this.problems.push({ ...this.positionAt(startOf(node) ?? 0), path: dotted(path), message: this.conceal(message) })
  }

  #break(node: unknown, path: Path, message: string): null {
    this.broken = true
    this.#complain(node, path, message)
    return null
  }
}

/** The offset at which a node begins. */
export function startOf(node: unknown): number | undefined {
  if (!isScalar(node) && !isMap(node) && !isSeq(node) && !isAlias(node)) return undefined
  return node.range?.[0]
}
