import { type Certainty, unknown } from './certainty.ts'
import type { Conditions } from './condition.ts'
import type { PolicyContext, PolicyDecision } from './context.ts'
import { many, standsAt, Template, type Token } from './template.ts'
import type { Variable } from './variable.ts'

/** A statement of a plan. */
export interface Candidate {
  /** Where it stands among all statements; the first that applies is the one that is named. */
  readonly order: number
  readonly conditions: Conditions | undefined
  readonly decision: PolicyDecision
}

/** A pattern for the last part of an ARN, and the statement that it belongs to. */
export interface Tail {
  readonly template: Template
  readonly candidate: Candidate
}

/** What is asked, the same for all statements. */
export interface Question {
  readonly text: string
  readonly context: PolicyContext
  /** How sure a match must be: `yes` for an Allow, `unknown` for a Deny. */
  readonly least: Certainty
}

/** Whether it stands before what has been found, and its conditions hold. */
export function isBetter(candidate: Candidate, best: Candidate | undefined, { context, least }: Question): boolean {
  if (best !== undefined && best.order <= candidate.order) return false
  return candidate.conditions === undefined || candidate.conditions.holds(context) >= least
}

/**
 * Many tails, asked together. They form a tree: what they have in common from the left, texts and variables, is looked at once,
 * and only what stands under a branch that fits is looked at any further.
 *
 * The lesson of the profile: with a hundred statements on one action, all the time went into matching one after the other patterns that
 * begin alike (`topic/${iot:Connection.Thing.ThingName}/…`) and into finding out the same variable's value for each of them.
 */
export class TailIndex {
  readonly #root: Node

  constructor(tails: readonly Tail[]) {
    this.#root = createNode(
      tails.map(({ template, candidate }) => ({ tokens: template.tokens, candidate })),
      0,
    )
  }

  /** The first statement with a tail that matches the text from `start` on; `best` where none stands before it. */
  find(question: Question, start: number, best: Candidate | undefined): Candidate | undefined {
    return search(this.#root, question, start, best)
  }
}

/** Below, tails are matched one by one: no document, however odd, may build a tree that exhausts the stack. */
const deepest = 100

interface Branch {
  readonly tokens: readonly Token[]
  readonly candidate: Candidate
}

/** One that goes on with a text, and what comes after that. */
interface TextBranch extends Branch {
  readonly text: string
}

/** A place in the tree: all tails that are alike up to here. */
interface Node {
  /** The smallest order of all statements from here on. */
  readonly first: number
  /** They are used up here: so must be the text. */
  readonly ends: readonly Candidate[]
  /** They end with a star: whatever the text goes on with. */
  readonly stars: readonly Candidate[]
  /** They go on with a wildcard and more behind it. */
  readonly patterns: readonly Tail[]
  readonly variables: readonly {
    readonly variable: Variable
    readonly node: Node
    /** The same tails, from the variable on, for when it has no value. */
    readonly patterns: readonly Tail[]
  }[]
  /** By the UTF-16 unit that they go on with. */
  readonly texts: ReadonlyMap<number, { readonly text: string; readonly node: Node }>
}

function search(from: Node, question: Question, start: number, found: Candidate | undefined): Candidate | undefined {
  const { text, context, least } = question
  let node = from
  let position = start
  let best = found
  for (;;) {
    if (best !== undefined && best.order <= node.first) return best
    if (position === text.length) {
      for (const candidate of node.ends) if (isBetter(candidate, best, question)) best = candidate
    }
    for (const candidate of node.stars) if (isBetter(candidate, best, question)) best = candidate
    if (node.patterns.length > 0) best = tryEach(node.patterns, question, position, best)
    for (const { variable, node: next, patterns } of node.variables) {
      const value = variable.text(context)
      if (value === undefined) {
        // It may stand for anything: never sure enough for an Allow, always a reason to look for a Deny.
        if (least === unknown) best = tryEach(patterns, question, position, best)
      } else if (standsAt(text, value, position)) best = search(next, question, position + value.length, best)
    }
    const edge = node.texts.get(text.charCodeAt(position))
    if (edge === undefined || !standsAt(text, edge.text, position)) return best
    position += edge.text.length
    node = edge.node
  }
}

function tryEach(
  tails: readonly Tail[],
  question: Question,
  position: number,
  found: Candidate | undefined,
): Candidate | undefined {
  const { text, context, least } = question
  let best = found
  for (const { template, candidate } of tails) {
    if (best !== undefined && best.order <= candidate.order) continue
    if (template.match(text, position, context) >= least && isBetter(candidate, best, question)) best = candidate
  }
  return best
}

function createNode(branches: readonly Branch[], depth: number): Node {
  const ends: Candidate[] = []
  const stars: Candidate[] = []
  const patterns: Tail[] = []
  const variables = new Map<string, { readonly variable: Variable; readonly branches: Branch[] }>()
  const texts = new Map<number, TextBranch[]>()
  for (const { tokens, candidate } of branches) {
    const [token, ...rest] = tokens
    if (token === undefined) ends.push(candidate)
    else if (token === many && rest.length === 0) stars.push(candidate)
    else if (typeof token === 'symbol' || depth >= deepest) patterns.push({ template: new Template(tokens), candidate })
    else if (typeof token === 'string') put(texts, { text: token, tokens: rest, candidate })
    else {
      const same = variables.get(token.name)
      if (same === undefined) variables.set(token.name, { variable: token, branches: [{ tokens, candidate }] })
      else same.branches.push({ tokens, candidate })
    }
  }
  return {
    first: branches.reduce((first, { candidate }) => Math.min(first, candidate.order), Infinity),
    ends,
    stars,
    patterns,
    variables: Array.from(variables.values(), ({ variable, branches }) => ({
      variable,
      node: createNode(
        branches.map(({ tokens, candidate }) => ({ tokens: tokens.slice(1), candidate })),
        depth + 1,
      ),
      patterns: branches.map(({ tokens, candidate }) => ({ template: new Template(tokens), candidate })),
    })),
    texts: new Map(Array.from(texts, ([unit, branches]) => [unit, createEdge(branches, depth)])),
  }
}

function put(texts: Map<number, TextBranch[]>, branch: TextBranch): void {
  const unit = branch.text.charCodeAt(0)
  const same = texts.get(unit)
  if (same === undefined) texts.set(unit, [branch])
  else same.push(branch)
}

/** The part that texts of one first unit share, and what comes after it. */
function createEdge(branches: readonly TextBranch[], depth: number): { readonly text: string; readonly node: Node } {
  const shared = branches.map(({ text }) => text).reduce(commonStart)
  const after = branches.map(({ text, tokens, candidate }) => {
    const left = text.slice(shared.length)
    return { tokens: left === '' ? tokens : [left, ...tokens], candidate }
  })
  return { text: shared, node: createNode(after, depth + 1) }
}

function commonStart(left: string, right: string): string {
  let length = 0
  while (length < left.length && left.charCodeAt(length) === right.charCodeAt(length)) length += 1
  return left.slice(0, length)
}
