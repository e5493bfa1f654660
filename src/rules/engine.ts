import { createHash } from 'node:crypto'
import type { Failure } from '../core/envelope.ts'
import { messageOf } from '../core/errors.ts'
import type { Delivery, Message } from '../core/message.ts'
import type { RuleDefinition, RuleOutcome, RuleSet } from '../core/rule.ts'
import { storable } from '../core/wire.ts'
import { type CompiledAction, type CompiledErrorAction, type CompiledRule, requireRule } from './compiled-rule.ts'
import { errorDocument, type FailedAction, failedMessage } from './error-document.ts'
import type { ExpressionLimits } from './limits.ts'
import type { Options } from './options.ts'
import { toJson } from './result.ts'
import { resultBytes } from './rule-expression.ts'
import { Subject } from './subject.ts'
import { TopicIndex } from './topic-index.ts'

export interface EngineOptions {
  readonly limits?: Partial<ExpressionLimits>
  /** What becomes of messages that no rule takes; nothing by default. */
  readonly unmatched?: RuleDefinition | undefined
  /** The kind of a worker, for `failedAction` of error documents (`sqs` → `SqsAction`, as AWS IoT names them). */
  readonly kindOf?: (worker: string) => string | undefined
}

/** Compiles rules to an immutable set. Throws SluiceError EXPRESSION_INVALID for the first that doesn't parse. */
export function compileRules(definitions: readonly RuleDefinition[], options: EngineOptions = {}): RuleSet {
  return new Engine(definitions, options)
}

class Engine implements RuleSet {
  readonly hash: string
  readonly rules: readonly RuleDefinition[]
  readonly #compiled: readonly CompiledRule[]
  readonly #index = new TopicIndex<number>()
  readonly #byName: ReadonlyMap<string, CompiledRule>
  readonly #places: ReadonlyMap<string, number>
  readonly #unmatched: CompiledRule | undefined
  readonly #options: EngineOptions
  readonly #resultBytes: number

  constructor(definitions: readonly RuleDefinition[], options: EngineOptions) {
    const { unmatched } = options
    this.hash = hashOf(unmatched === undefined ? definitions : [...definitions, unmatched])
    this.#unmatched = unmatched && requireRule(unmatched, options.limits)
    this.rules = definitions
    this.#options = options
    this.#resultBytes = resultBytes(options.limits)
    this.#compiled = definitions.map((definition) => requireRule(definition, options.limits))
    this.#byName = new Map(this.#compiled.map((rule) => [rule.definition.name, rule]))
    this.#places = new Map(definitions.map(({ name }, index) => [name, index]))
    for (const [index, { from }] of definitions.entries()) for (const filter of from) this.#index.add(filter, index)
  }

  async evaluate(message: Message): Promise<readonly RuleOutcome[]> {
    const matched = message.rule === undefined ? this.#index.match(message.topic) : this.#named(message.rule)
    if (matched.length === 0) return []
    const subject = new Subject(message)
    const outcomes: RuleOutcome[] = []
    // A rule comes once for each of its filters that match.
    for (const index of [...new Set(matched)].sort((a, b) => a - b)) {
      const rule = this.#compiled[index]
      if (rule !== undefined) outcomes.push(await this.#outcome(rule, subject))
    }
    return outcomes
  }

  async unmatched(message: Message): Promise<RuleOutcome | undefined> {
    return this.#unmatched && this.#outcome(this.#unmatched, new Subject(message))
  }

  #named(name: string): readonly number[] {
    const index = this.#places.get(name)
    return index === undefined ? [] : [index]
  }

  async errorActions(failure: Failure): Promise<readonly Delivery[]> {
    const rule = this.#byName.get(failure.entry.rule)
    const on = failure.kind === 'evaluation' ? 'evaluation' : 'delivery'
    const actions = rule?.onError.filter((action) => action.on.includes(on)) ?? []
    if (actions.length === 0) return []
    const message = failedMessage(failure)
    const { worker = failure.entry.rule } = failure
    const failed = { action: this.#actionName(failure.worker), resource: worker, message: failure.reason }
    const original = failure.entry.in === undefined ? undefined : message.payload
    const out = Buffer.from(errorDocument({ rule: failure.entry.rule, message, original, failed }))
    const subject = new Subject(message)
    const deliveries: Delivery[] = []
    for (const action of actions) deliveries.push(await errorDelivery(failure.entry.rule, action, out, subject))
    return deliveries
  }

  /** Never rejects. */
  async #outcome(compiled: CompiledRule, subject: Subject): Promise<RuleOutcome> {
    const rule = compiled.definition.name
    let doing = 'where'
    try {
      if (compiled.where !== undefined) {
        const held = await compiled.where.evaluate(subject)
        if (held !== true)
          return held === false || held === undefined
            ? { kind: 'unmatched', rule }
            : this.#notBoolean(compiled, subject, held)
      }
      doing = 'select'
      let out: Buffer | undefined
      if (compiled.select !== undefined) {
        const selected = await compiled.select.evaluateExactly(subject)
        if (selected === undefined) return { kind: 'empty', rule }
        out = Buffer.from(toJson(selected, this.#resultBytes))
      }
      const deliveries: Delivery[] = []
      for (const action of compiled.to) {
        doing = `to.${action.action}.with`
        deliveries.push(deliveryOf(rule, action, out, await optionsFor(action, subject)))
      }
      return { kind: 'deliveries', rule, deliveries }
    } catch (error) {
      return this.#failed(compiled, subject, `${doing}: ${messageOf(error)}`)
    }
  }

  #notBoolean(compiled: CompiledRule, subject: Subject, held: unknown): Promise<RuleOutcome> {
    const kind =
      held === null
        ? 'null'
        : Array.isArray(held)
          ? 'an array'
          : typeof held === 'object'
            ? 'an object'
            : `a ${typeof held}`
    return this.#failed(compiled, subject, `where: must be true, false or undefined, and is ${kind}`)
  }

  /** Never rejects: an error action that can't be rendered is named in the reason. */
  async #failed(compiled: CompiledRule, subject: Subject, why: string): Promise<RuleOutcome> {
    const rule = compiled.definition.name
    let reason = storable(why)
    const onError: Delivery[] = []
    const actions = compiled.onError.filter(({ on }) => on.includes('evaluation'))
    if (actions.length > 0) {
      const { message } = subject
      const failed: FailedAction = { action: this.#actionName(undefined), resource: rule, message: reason }
      const out = Buffer.from(errorDocument({ rule, message, original: message.payload, failed }))
      for (const action of actions) {
        try {
          onError.push(await errorDelivery(rule, action, out, subject))
        } catch (error) {
          reason += storable(`; the error action for "${action.worker}" failed too: ${messageOf(error)}`)
        }
      }
    }
    return { kind: 'failed', rule, reason, onError }
  }

  /** As AWS IoT names actions: `SqsAction`; what isn't a worker's is the rule's evaluation. */
  #actionName(worker: string | undefined): string {
    if (worker === undefined) return 'RuleEvaluation'
    const kind = this.#options.kindOf?.(worker) ?? 'worker'
    return `${kind.charAt(0).toUpperCase()}${kind.slice(1)}Action`
  }
}

/** Of everything that decides what becomes of a message; tests and positions don't. */
function hashOf(definitions: readonly RuleDefinition[]): string {
  const decisive = definitions.map(({ name, from, where, select, to, onError }) => ({
    name,
    from,
    where,
    select,
    to,
    onError,
  }))
  return createHash('sha256').update(JSON.stringify(decisive)).digest('hex').slice(0, 12)
}

/** Waits only where a template needs jsonata. */
function optionsFor(action: CompiledAction, subject: Subject): Options | undefined | Promise<Options | undefined> {
  return action.options.render(subject)
}

function deliveryOf(
  rule: string,
  { worker, action }: CompiledAction,
  out: Buffer | undefined,
  options: Options | undefined,
): Delivery {
  return { worker, rule, action, ...(out !== undefined && { out }), ...(options !== undefined && { with: options }) }
}

async function errorDelivery(
  rule: string,
  action: CompiledErrorAction,
  out: Buffer,
  subject: Subject,
): Promise<Delivery> {
  return { ...deliveryOf(rule, action, out, await optionsFor(action, subject)), error: true }
}
