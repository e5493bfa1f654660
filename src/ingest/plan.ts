import type { Delivery, Message } from '../core/message.ts'
import type { Metrics } from '../core/metrics.ts'
import type { PacedLog } from '../core/paced-log.ts'
import type { RuleOutcome, RuleSet } from '../core/rule.ts'
import type { Door } from './accept.ts'
import { forbidden, type Refusal } from './judge.ts'

/** What is to become of a message, before anything is done about it. */
export interface Plan {
  readonly message: Message
  readonly deliveries: readonly Delivery[]
  /** Rules on whose dead letters it is kept, and why. */
  readonly kept: readonly { readonly rule: string; readonly reason: string }[]
  /** Set where the rules leave nothing to be done with a message that can't be acknowledged so. */
  readonly refusal?: Refusal
}

export interface Planning {
  readonly door: Door
  readonly metrics: Metrics
  readonly refusals: PacedLog
}

/** Asks the rules what becomes of a message. Never rejects. */
export async function planFor(message: Message, rules: RuleSet, { door, metrics, refusals }: Planning): Promise<Plan> {
  let outcomes = await rules.evaluate(message)
  const deliveries: Delivery[] = []
  const kept: { rule: string; reason: string }[] = []
  // That nobody looks at an event of Sluice's own is nothing to tell.
  if (outcomes.length === 0 && door === 'sluice') return { message, deliveries, kept }
  if (outcomes.length === 0) {
    const outcome = message.rule === undefined ? await rules.unmatched(message) : undefined
    const refusal = outcome === undefined ? refusalWithoutRule(message) : undefined
    if (refusal !== undefined) {
      sayRuleNotFound(message)
      return { message, deliveries, kept, refusal }
    }
    metrics.count('sluice_messages_unmatched_total', {})
    outcomes = outcome === undefined ? [] : [outcome]
  }
  for (const outcome of outcomes) {
    metrics.count('sluice_rule_outcomes_total', { rule: outcome.rule, outcome: outcome.kind })
    if (outcome.kind === 'deliveries') deliveries.push(...outcome.deliveries)
    if (outcome.kind === 'failed') takeFailed(outcome)
  }
  return { message, ...withoutLoops(), kept }

  function takeFailed({ rule, reason, onError }: Extract<RuleOutcome, { kind: 'failed' }>): void {
    refusals.warn(`rule ${rule}`, { rule, traceId: message.id, reason }, 'the rule failed')
    if (onError.length > 0) deliveries.push(...onError)
    else kept.push({ rule, reason })
  }

  function withoutLoops(): { readonly deliveries: readonly Delivery[] } {
    const source = publishingWorker(message)
    if (source === undefined) return { deliveries }
    for (const { rule, worker } of deliveries) {
      if (worker !== source) continue
      const reason = `loop: worker ${worker} published this message, and the rule would send it there again`
      refusals.warn(`loop ${rule}`, { rule, traceId: message.id, topic: message.topic }, reason)
      kept.push({ rule, reason })
    }
    return { deliveries: deliveries.filter(({ worker }) => worker !== source) }
  }

  /** AWS IoT's RuleNotFound: an error in the log and a metric. (The publisher gets to know it too: see the refusal.) */
  function sayRuleNotFound({ rule, id, principal, topic }: Message): void {
    if (rule === undefined) return
    metrics.count('sluice_rule_not_found_total', { door })
    const facts = { rule: rule.slice(0, 128), traceId: id, principal, topic: topic.slice(0, 256) }
    refusals.error(`rule-not-found ${principal}`, facts, 'RuleNotFound: a message is for a rule that there is not')
  }
}

/**
 * Why a message that no rule took is refused, where an acknowledgement would say that something answers it: Basic Ingest for a
 * rule that isn't there, and AWS IoT's reserved topics (shadows, jobs, …), behind which nothing stands here but rules.
 */
function refusalWithoutRule({ rule, topic }: Message): Refusal | undefined {
  if (rule !== undefined) {
    const message = 'there is no rule of the name that the topic gives'
    return { status: 404, reason: 'rule-not-found', message, because: `no rule ${rule.slice(0, 128)}` }
  }
  if (!topic.startsWith('$')) return undefined
  return forbidden('reserved', 'nothing answers this reserved topic', 'no rule takes it, and there is no such service')
}

/**
 * The worker that published a message: what it would be sent to again is a loop. MQTT 3.1.1, which the embedded broker speaks,
 * has no property to count hops in, but a worker comes in as principal `worker:<name>`.
 */
function publishingWorker({ principal }: Message): string | undefined {
  return principal.startsWith('worker:') ? principal.slice('worker:'.length) : undefined
}
