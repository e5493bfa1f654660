import { resourceStart } from './arn-pattern.ts'
import { no, not, someOf, unknown, yes } from './certainty.ts'
import type { PolicyContext, PolicyDecision } from './context.ts'
import { compileDocument } from './document.ts'
import type { Complaint } from './report.ts'
import type { Statement } from './statement.ts'
import { type Candidate, isBetter, type Question, type Tail, TailIndex } from './tail-index.ts'
import type { Template } from './template.ts'
import { show } from './values.ts'
import { timeVariables } from './variables.ts'

export const implicitDeny: PolicyDecision = Object.freeze({ decision: 'deny', explicit: false })

/** The statements that speak about one action on resources of one head (`arn:aws:iot:<region>:<account>:`). */
interface Plan {
  readonly head: string
  readonly denies: Side
  readonly allows: Side
}

/** What is left to ask of the statements of one effect, once action and head are known. */
interface Side {
  readonly tails: TailIndex
  /** Statements about every resource, and about all but some. */
  readonly others: readonly Other[]
}

interface Other {
  readonly candidate: Candidate
  /** `NotResource`: the resources that it doesn't speak about. */
  readonly but: readonly Template[]
}

type Effect = Statement['effect']

interface Entry {
  readonly statement: Statement
  readonly decision: PolicyDecision
}

/** Actions to keep plans for; there are some twenty, in one spelling each, unless somebody plays with us. */
const plansKept = 64

/** The statements of documents in force together. */
export class StatementSet {
  readonly malformed: readonly (Complaint & { readonly document: number })[]
  /** Whether a decision may change with nothing but the time. */
  readonly usesTime: boolean
  readonly #entries: readonly Entry[]
  readonly #plans = new Map<string, Plan>()
  readonly #denyAll: PolicyDecision | undefined

  /** `first` is the number of the first document in decisions. */
  constructor(documents: unknown, first: number) {
    if (!Array.isArray(documents)) {
      const message = `policies must be a list of documents, and are ${show(documents)}`
      this.malformed = [{ document: first, path: '', message }]
      this.usesTime = false
      this.#entries = []
      this.#denyAll = Object.freeze({ decision: 'deny', explicit: true })
      return
    }
    const compiled = documents.map(compileDocument)
    this.malformed = compiled.flatMap(({ report }, index) =>
      report.malformations.map((complaint) => ({ ...complaint, document: first + index })),
    )
    this.usesTime = compiled.some(({ report }) => timeVariables.some((name) => report.variables.has(name)))
    this.#entries = compiled.flatMap(({ statements }, index) => entriesOf(statements, first + index))
    this.#denyAll = this.malformed[0] && decisionAt('Deny', this.malformed[0].document, statementOf(this.malformed[0]))
  }

  decide(action: string, resource: string, context: PolicyContext): PolicyDecision {
    if (this.#denyAll !== undefined) return this.#denyAll
    let plan = this.#plans.get(action)
    // A head ends with the fifth colon, so a resource that starts with it has this head and no other.
    if (plan === undefined || !resource.startsWith(plan.head)) {
      const start = resourceStart(resource)
      if (start === -1)
        return resource === '*' ? ask(this.#plan(action, undefined), resource, 0, context) : implicitDeny
      plan = this.#plan(action, resource.slice(0, start))
      if (this.#plans.size >= plansKept) this.#plans.clear()
      this.#plans.set(action, plan)
    }
    return ask(plan, resource, plan.head.length, context)
  }

  /**
   * Names of variables and condition keys that have no value and that a statement about this action needs, where its resource fits, or
   * might if its variables had values. Slow: for people, not for decisions.
   */
  missing(action: string, resource: string, context: PolicyContext): readonly string[] {
    const start = resourceStart(resource)
    const head = start === -1 ? undefined : resource.slice(0, start)
    return this.#entries.flatMap(({ statement }) => {
      if (!statement.covers(action.toLowerCase())) return []
      const { everything, inverted } = statement.resources
      const tails = tailsOf(statement, head)
      const found = everything ? yes : someOf(tails, (tail) => tail.match(resource, start, context))
      if ((inverted ? not(found) : found) === no) return []
      const doubtful = tails.filter((tail) => tail.match(resource, start, context) === unknown)
      return [...doubtful.flatMap((tail) => tail.missing(context)), ...(statement.conditions?.missing(context) ?? [])]
    })
  }

  /** `head` undefined is the resource `*`, which no ARN matches. */
  #plan(action: string, head: string | undefined): Plan {
    const tails: Record<Effect, Tail[]> = { Allow: [], Deny: [] }
    const others: Record<Effect, Other[]> = { Allow: [], Deny: [] }
    for (const [order, { statement, decision }] of this.#entries.entries()) {
      if (!statement.covers(action.toLowerCase())) continue
      const { resources, conditions, effect } = statement
      const { everything, inverted } = resources
      const candidate = { order, conditions, decision }
      const templates = tailsOf(statement, head)
      if (everything && inverted) continue
      if (everything) others[effect].push({ candidate, but: [] })
      else if (inverted) others[effect].push({ candidate, but: templates })
      else for (const template of templates) tails[effect].push({ template, candidate })
    }
    const side = (effect: Effect): Side => ({ tails: new TailIndex(tails[effect]), others: others[effect] })
    return { head: head ?? '', denies: side('Deny'), allows: side('Allow') }
  }
}

/** The last parts of its resources whose first five parts match. */
function tailsOf({ resources }: Statement, head: string | undefined): readonly Template[] {
  if (head === undefined) return []
  return resources.patterns.filter((pattern) => pattern.matchHead(head, {}) === yes).map(({ tail }) => tail)
}

function ask(plan: Plan, text: string, start: number, context: PolicyContext): PolicyDecision {
  const deny = find(plan.denies, { text, context, least: unknown }, start)
  if (deny !== undefined) return deny.decision
  return find(plan.allows, { text, context, least: yes }, start)?.decision ?? implicitDeny
}

/** The first statement that applies, as surely as the question asks for. */
function find({ tails, others }: Side, question: Question, start: number): Candidate | undefined {
  const { text, context, least } = question
  let best = tails.find(question, start, undefined)
  for (const { candidate, but } of others) {
    const about = not(someOf(but, (template) => template.match(text, start, context)))
    if (about >= least && isBetter(candidate, best, question)) best = candidate
  }
  return best
}

function entriesOf(statements: readonly (Statement | undefined)[], document: number): Entry[] {
  return statements.flatMap((statement, index) =>
    statement === undefined ? [] : [{ statement, decision: decisionAt(statement.effect, document, index) }],
  )
}

function decisionAt(effect: Effect, document: number, statement: number | undefined): PolicyDecision {
  return Object.freeze({
    decision: effect === 'Allow' ? 'allow' : 'deny',
    explicit: effect === 'Deny',
    ...(statement !== undefined && { statement: Object.freeze({ document, statement }) }),
  })
}

/** The statement that a complaint is about; undefined where it is about the document. */
function statementOf({ path }: Complaint): number | undefined {
  const [field, index] = path.split('.')
  if (field !== 'Statement') return undefined
  const number = Number(index ?? 0)
  return Number.isInteger(number) ? number : 0
}
