import { resourceStart } from './arn-pattern.ts'
import { type Certainty, no, not, yes } from './certainty.ts'
import type { Condition } from './condition.ts'
import type { PolicyContext, PolicyDecision } from './context.ts'
import { compileDocument } from './document.ts'
import type { Complaint } from './report.ts'
import type { Statement } from './statement.ts'
import type { Template } from './template.ts'
import { show } from './values.ts'

export const implicitDeny: PolicyDecision = Object.freeze({ decision: 'deny', explicit: false })

/** The statements that speak about one action on resources of one head (`arn:aws:iot:<region>:<account>:`). */
interface Plan {
  readonly head: string
  readonly denies: readonly Candidate[]
  readonly allows: readonly Candidate[]
}

/** What is left to ask of a statement, once action and head are known. */
interface Candidate {
  /** Patterns of the part after the head; undefined: every resource. */
  readonly tails: readonly Template[] | undefined
  readonly inverted: boolean
  readonly condition: Condition | undefined
  readonly decision: PolicyDecision
}

interface Entry {
  readonly statement: Statement
  readonly decision: PolicyDecision
}

/** Actions to keep plans for; there are some twenty, in one spelling each, unless somebody plays with us. */
const plansKept = 64

/** The statements of documents in force together. */
export class StatementSet {
  readonly malformed: readonly (Complaint & { readonly document: number })[]
  readonly #entries: readonly Entry[]
  readonly #plans = new Map<string, Plan>()
  readonly #denyAll: PolicyDecision | undefined

  /** `first` is the number of the first document in decisions. */
  constructor(documents: unknown, first: number) {
    if (!Array.isArray(documents)) {
      const message = `policies must be a list of documents, and are ${show(documents)}`
      this.malformed = [{ document: first, path: '', message }]
      this.#entries = []
      this.#denyAll = Object.freeze({ decision: 'deny', explicit: true })
      return
    }
    const compiled = documents.map(compileDocument)
    this.malformed = compiled.flatMap(({ report }, index) =>
      report.malformations.map((complaint) => ({ ...complaint, document: first + index })),
    )
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

  /** `head` undefined is the resource `*`, which no ARN matches. */
  #plan(action: string, head: string | undefined): Plan {
    const denies: Candidate[] = []
    const allows: Candidate[] = []
    for (const { statement, decision } of this.#entries) {
      if (!statement.covers(action.toLowerCase())) continue
      const { resources, condition, effect } = statement
      const { everything, inverted, patterns } = resources
      const tails = patterns.filter((pattern) => head !== undefined && pattern.matchHead(head, {}) === yes)
      if (inverted ? everything : !everything && tails.length === 0) continue
      const candidate = { tails: everything ? undefined : tails.map(({ tail }) => tail), inverted, condition, decision }
      ;(effect === 'Deny' ? denies : allows).push(candidate)
    }
    return { head: head ?? '', denies, allows }
  }
}

function ask(plan: Plan, resource: string, start: number, context: PolicyContext): PolicyDecision {
  for (const deny of plan.denies) if (applies(deny, resource, start, context) !== no) return deny.decision
  for (const allow of plan.allows) if (applies(allow, resource, start, context) === yes) return allow.decision
  return implicitDeny
}

function applies(candidate: Candidate, resource: string, start: number, context: PolicyContext): Certainty {
  const { tails, inverted, condition } = candidate
  const found = tails === undefined ? yes : matchAny(tails, resource, start, context)
  const about = inverted ? not(found) : found
  if (about === no || condition === undefined) return about
  const held = condition(context)
  return held < about ? held : about
}

function matchAny(tails: readonly Template[], resource: string, start: number, context: PolicyContext): Certainty {
  let best: Certainty = no
  for (const tail of tails) {
    const result = tail.match(resource, start, context)
    if (result === yes) return yes
    if (result > best) best = result
  }
  return best
}

function entriesOf(statements: readonly (Statement | undefined)[], document: number): Entry[] {
  return statements.flatMap((statement, index) =>
    statement === undefined ? [] : [{ statement, decision: decisionAt(statement.effect, document, index) }],
  )
}

function decisionAt(effect: 'Allow' | 'Deny', document: number, statement: number | undefined): PolicyDecision {
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
