import type { Accept, Accepted, Access, Publish, RefusalReason, Speaker } from '../core/access.ts'
import { messageOf, QueueAwayError, SluiceError } from '../core/errors.ts'
import { isPublisherId, newId, scopedId } from '../core/id.ts'
import type { Log } from '../core/log.ts'
import type { Delivery, Message } from '../core/message.ts'
import type { Metrics } from '../core/metrics.ts'
import type { RuleSet } from '../core/rule.ts'
import { complainAboutTopicName, type TopicLimits } from '../core/topic.ts'
import type { RateLimiter } from './limits.ts'
import { createPacedLog } from '../core/paced-log.ts'

/** The doors by which messages come in, as metrics name them; `sluice` is for its own events, which no policy and no limit is made for. */
export type Door = 'http' | 'mqtt' | 'bridge' | 'sluice'

export interface AcceptOptions {
  /** The identities and policies in force; asked for every message, because a reload replaces them. */
  readonly access: () => Access
  /** The rules in force; likewise. */
  readonly rules: () => RuleSet
  /** Resolves when every delivery of the message is durable; rejects with QUEUE_AWAY. */
  readonly enqueue: (message: Message, deliveries: readonly Delivery[], set: string) => Promise<void>
  /** Keeps a message that a rule failed on among the dead letters of that rule; resolves when durable. */
  readonly keepFailed: (message: Message, rule: string, reason: string) => Promise<void>
  readonly limiter: RateLimiter
  readonly limits: TopicLimits & { readonly payload: number }
  readonly log: Log
  readonly metrics: Metrics
  readonly now?: () => number
}

/** How long a publisher is asked to wait when the queue is away; it has no better guess than we. */
const awayMs = 2_000

type Refusal = Omit<Extract<Accepted, { kind: 'refused' }>, 'kind' | 'id'> & { readonly because?: string }

/**
 * The one way in, behind every door: authorize → limits → rules → queue. (Doors authenticate first: an identity belongs to
 * a connection or request.) INVARIANT: `accepted` is answered only after every envelope the message is in has been added.
 */
export function createAccept(door: Door, options: AcceptOptions): Accept {
  const { limiter, metrics } = options
  const now = options.now ?? Date.now
  const refusals = createPacedLog(options.log)

  return async function accept(speaker, publish) {
    const id = newId()
    const refusal = door === 'sluice' ? undefined : refusalOf(speaker, publish, options)
    if (refusal !== undefined) return refuse(id, speaker, publish, refusal)

    // A bridge carries everybody's messages: its brake is flow control, not a limit made for one device.
    const waitMs =
      speaker.principal.method === 'bridge' || door === 'sluice'
        ? 0
        : limiter.take(speaker.principal.name, publish.payload.length)
    if (waitMs > 0) return defer(id, 429, waitMs, 'over the publish limit of this principal')

    const message = messageFrom(id, now(), speaker, publish)
    const rules = options.rules()
    try {
      await route(message, rules)
    } catch (error) {
      if (error instanceof QueueAwayError && error.inDoubt) metrics.count('sluice_messages_in_doubt_total', { door })
      if (!(error instanceof SluiceError)) options.log.error({ traceId: id, error: messageOf(error) }, 'accept failed')
      return defer(id, 503, awayMs, 'the queue cannot take messages now')
    }
    metrics.count('sluice_messages_accepted_total', { door })
    return { kind: 'accepted', id }
  }

  async function route(message: Message, rules: RuleSet): Promise<void> {
    const outcomes = await rules.evaluate(message)
    if (outcomes.length === 0) return metrics.count('sluice_messages_unmatched_total', {})
    const deliveries: Delivery[] = []
    const kept: Promise<void>[] = []
    for (const outcome of outcomes) {
      metrics.count('sluice_rule_outcomes_total', { rule: outcome.rule, outcome: outcome.kind })
      if (outcome.kind === 'deliveries') deliveries.push(...outcome.deliveries)
      if (outcome.kind !== 'failed') continue
      refusals.warn(
        `rule ${outcome.rule}`,
        { rule: outcome.rule, traceId: message.id, reason: outcome.reason },
        'the rule failed',
      )
      if (outcome.onError.length > 0) deliveries.push(...outcome.onError)
      else kept.push(options.keepFailed(message, outcome.rule, outcome.reason))
    }
    const source = publishingWorker(message)
    const onward = source === undefined ? deliveries : deliveries.filter(({ worker }) => worker !== source)
    if (onward.length < deliveries.length)
      kept.push(...deliveries.filter(({ worker }) => worker === source).map(keepLooping))
    if (onward.length > 0) kept.push(options.enqueue(message, onward, rules.hash))
    if (kept.length === 1) return kept[0]
    // All of them are waited for even when one fails: a publisher that is told 503 must not be overtaken by its own message.
    const settled = await Promise.allSettled(kept)
    const failed = settled.flatMap((result): unknown[] => (result.status === 'rejected' ? [result.reason] : []))
    const [first] = failed
    if (first === undefined) return
    // What one part of the message has come into, it is delivered from, whatever became of the others.
    const inDoubt =
      failed.length < settled.length || failed.some((error) => error instanceof QueueAwayError && error.inDoubt)
    if (!(first instanceof SluiceError)) throw first
    throw new QueueAwayError(first.message, inDoubt, { cause: first })

    function keepLooping({ rule, worker }: Delivery): Promise<void> {
      const reason = `loop: worker ${worker} published this message, and the rule would send it there again`
      refusals.warn(`loop ${rule}`, { rule, traceId: message.id, topic: message.topic }, reason)
      return options.keepFailed(message, rule, reason)
    }
  }

  function refuse(id: string, speaker: Speaker, publish: Publish, refusal: Refusal): Accepted {
    const { status, reason, message, because } = refusal
    metrics.count('sluice_messages_refused_total', { door, reason })
    const facts = {
      traceId: id,
      door,
      principal: speaker.principal.name,
      clientId: speaker.clientId?.slice(0, 128),
      sourceIp: speaker.sourceIp,
      topic: publish.topic.slice(0, 256),
      thing: publish.thing,
      reason,
    }
    refusals.warn(`${reason} ${speaker.principal.name}`, { ...facts, because: because ?? message }, 'refused')
    return { kind: 'refused', id, status, reason, message }
  }

  function defer(id: string, status: 429 | 503, afterMs: number, message: string): Accepted {
    metrics.count('sluice_messages_deferred_total', { door, status: String(status) })
    return { kind: 'later', id, status, afterMs, message }
  }
}

/**
 * The worker that published a message: what it would be sent to again is a loop. MQTT 3.1.1, which the embedded broker speaks,
 * has no property to count hops in, but a worker comes in as principal `worker:<name>`.
 */
function publishingWorker({ principal }: Message): string | undefined {
  return principal.startsWith('worker:') ? principal.slice('worker:'.length) : undefined
}

function messageFrom(id: string, at: number, speaker: Speaker, publish: Publish): Message {
  const thing = publish.thing ?? speaker.principal.thing
  // A message on behalf of another thing did not come from the speaker's own client.
  const clientId = publish.clientId ?? (publish.thing === undefined ? speaker.clientId : undefined)
  return {
    id,
    at,
    topic: publish.topic,
    payload: publish.payload,
    qos: publish.qos,
    retain: publish.retain,
    principal: speaker.principal.name,
    ...(publish.id !== undefined && { publisherId: scopedId(speaker.principal, { ...publish, id: publish.id }) }),
    ...(publish.properties !== undefined && { properties: publish.properties }),
    ...(thing !== undefined && { thing }),
    ...(clientId !== undefined && { clientId }),
    ...(speaker.sourceIp !== undefined && { sourceIp: speaker.sourceIp }),
  }
}

function refusalOf(speaker: Speaker, publish: Publish, options: AcceptOptions): Refusal | undefined {
  const { limits } = options
  if (publish.id !== undefined && !isPublisherId(publish.id)) {
    return bad('request', 'the id must be 1 to 128 visible ASCII characters')
  }
  const complaint = complainAboutTopicName(publish.topic, limits)
  if (complaint !== undefined) return bad('topic', complaint)
  if (publish.payload.length > limits.payload) {
    const message = `the payload has ${publish.payload.length} bytes, and at most ${limits.payload} are allowed`
    return { status: 413, reason: 'size', message }
  }
  const access = options.access()
  return (
    refusalToSpeak(access, speaker, publish) ??
    refusalByPolicy(access, speaker, publish) ??
    refusalForThing(access, speaker, publish)
  )
}

/** Whether the speaker may name this thing and this client id at all. */
function refusalToSpeak(access: Access, speaker: Speaker, publish: Publish): Refusal | undefined {
  const { principal } = speaker
  const { thing, clientId } = publish
  if (thing !== undefined && !access.mayActFor(principal, thing)) {
    return forbidden(
      'speaking-for',
      'this principal may not speak for that thing',
      `thing ${thing} is not in its actsFor`,
    )
  }
  if (clientId === undefined || clientId === speaker.clientId || thing !== undefined) return undefined
  if (access.mayActFor(principal, clientId)) return undefined
  return forbidden(
    'speaking-for',
    'this principal may not use that client id',
    `client id ${clientId} is not in its actsFor`,
  )
}

function refusalByPolicy(access: Access, speaker: Speaker, publish: Publish): Refusal | undefined {
  const decision = access.decide(speaker, 'iot:Publish', publish.topic)
  if (!decision.allow) {
    const text = decision.reserved
      ? 'clients may not publish to this reserved topic'
      : 'not allowed to publish to this topic'
    return forbidden(decision.reserved ? 'reserved' : 'policy', text, decision.because)
  }
  if (!publish.retain) return undefined
  const retained = access.decide(speaker, 'iot:RetainPublish', publish.topic)
  if (retained.allow) return undefined
  const reason = retained.reserved ? 'reserved' : 'policy'
  return forbidden(reason, 'not allowed to publish a retained message to this topic', retained.because)
}

/** The second decision of a message on behalf of a thing: what that thing's own policies say. */
function refusalForThing(access: Access, speaker: Speaker, publish: Publish): Refusal | undefined {
  const { principal } = speaker
  const { thing } = publish
  if (thing === undefined || (thing === principal.thing && principal.method !== 'bridge')) return undefined
  if (!access.knowsThing(thing)) {
    if (principal.unknownThings === 'allow') return undefined
    return forbidden('unknown-thing', 'the thing is not registered', `no thing ${thing} in identity/`)
  }
  if (principal.trust === 'topics') return undefined
  const decision = access.decideForThing(thing, publish.topic, publish.retain)
  if (decision.allow) return undefined
  return forbidden('thing-policy', 'the thing is not allowed to publish to this topic', decision.because)
}

function bad(reason: RefusalReason, message: string): Refusal {
  return { status: 400, reason, message }
}

function forbidden(reason: RefusalReason, message: string, because: string): Refusal {
  return { status: 403, reason, message, because }
}
