import type { Accept, AcceptBatch, Accepted, Access, NotAccepted, Publish, Speaker } from '../core/access.ts'
import { messageOf, QueueAwayError, SluiceError } from '../core/errors.ts'
import { newId, scopedId } from '../core/id.ts'
import type { Log } from '../core/log.ts'
import type { Delivery, Message } from '../core/message.ts'
import type { Metrics } from '../core/metrics.ts'
import { ownerOf } from '../core/owner.ts'
import { createPacedLog } from '../core/paced-log.ts'
import { admit, type Drop, endlessRoom, type OnDropped, type Room } from '../core/room.ts'
import type { RuleSet } from '../core/rule.ts'
import { addressOf, type TopicLimits } from '../core/topic.ts'
import { type Refusal, refusalOf } from './judge.ts'
import type { RateLimiter } from './limits.ts'
import { type Plan, planFor } from './plan.ts'

/** The doors by which messages come in, as metrics name them; `sluice` is for its own events, which no policy and no limit is made for. */
export type Door = 'http' | 'mqtt' | 'bridge' | 'sluice'

export interface AcceptOptions {
  /** The identities and policies in force; asked for every message, because a reload replaces them. */
  readonly access: () => Access
  /** The rules in force; likewise. */
  readonly rules: () => RuleSet
  /**
   * Promises, one a message, that resolve when every delivery of it is durable, and reject with QUEUE_AWAY. Throws QUEUE_AWAY
   * before anything of them is in where there is no room for all.
   */
  readonly enqueue: (
    messages: readonly { readonly message: Message; readonly deliveries: readonly Delivery[] }[],
    set: string,
  ) => readonly Promise<void>[]
  /** Keeps a message that a rule failed on among the dead letters of that rule; resolves when durable. */
  readonly keepFailed: (message: Message, rule: string, reason: string) => Promise<void>
  /** Whether queues may hold more; asked before anything of a message goes anywhere. Without it they always may. */
  readonly room?: Room
  /** Called for what a full worker lets fall (`whenFull: drop-newest`). */
  readonly onDropped?: OnDropped
  readonly limiter: RateLimiter
  readonly limits: TopicLimits & { readonly payload: number }
  readonly log: Log
  readonly metrics: Metrics
  readonly now?: () => number
}

/** How long a publisher is asked to wait when the queue is away; it has no better guess than we. */
const awayMs = 2_000

/** The same where a queue is full: it is measured every second, and what fills it is worked off in larger pieces. */
const fullMs = 5_000

/** A message that was let in: what it is called, and what it becomes. */
interface Arrival {
  readonly id: string
  readonly speaker: Speaker
  readonly publish: Publish
}

/**
 * The one way in, behind every door: authorize → limits → rules → queue. (Doors authenticate first: an identity belongs to
 * a connection or request.) INVARIANT: `accepted` is answered only after every envelope the message is in has been added.
 */
export function createAccept(door: Door, options: AcceptOptions): Accept {
  const { judge, brake, take, defer } = createWay(door, options)
  return async function accept(speaker, publish, id = newId()) {
    const arrival = { id, speaker, publish }
    const refused = judge(arrival)
    if (refused !== undefined) return refused
    const pace = brake(speaker, [arrival])
    if (pace > 0) return defer(arrival.id, 429, pace, 'over the publish limit of this principal')
    const [accepted] = await take([arrival])
    // One arrival, one answer.
    return accepted as Accepted
  }
}

/**
 * The same for what came in one request. What the limits say, they say of all its messages together: a publisher that is told
 * "later" and sends everything again must not find a part of it accepted each time, and the rest never. So is room in the queue.
 * What is left to happen to single ones: a refusal, which no repetition would change, and a queue that goes away in the middle.
 */
export function createAcceptBatch(door: Door, options: AcceptOptions): AcceptBatch {
  const { judge, brake, take, defer, refuseAll } = createWay(door, options)
  return async function acceptBatch(speaker, publishes) {
    const arrivals = publishes.map((publish) => ({ id: newId(), speaker, publish }))
    const refused = arrivals.map(judge)
    const open = arrivals.filter((_arrival, index) => refused[index] === undefined)
    const [first] = open
    if (first === undefined) return { kind: 'each', answers: refused.flatMap((answer) => answer ?? []) }
    const tooMuch = options.limiter.complain(open.length, bytesOf(open))
    if (tooMuch !== undefined)
      return { kind: 'whole', answer: refuseAll(open, { status: 413, reason: 'size', message: tooMuch }) }
    const pace = brake(speaker, open)
    if (pace > 0) {
      const text = 'over the publish limit of this principal; none of these messages was taken'
      return { kind: 'whole', answer: defer(first.id, 429, pace, text, open.length) }
    }
    const taken = (await take(open)).values()
    return { kind: 'each', answers: refused.map((answer) => answer ?? (taken.next().value as Accepted)) }
  }
}

function createWay(door: Door, options: AcceptOptions) {
  const { limiter, metrics, room = endlessRoom, onDropped = () => {} } = options
  const now = options.now ?? Date.now
  const refusals = createPacedLog(options.log)
  const planning = { door, metrics, refusals }
  return { judge, brake, take, defer, refuseAll }

  function judge({ id, speaker, publish }: Arrival): NotAccepted | undefined {
    const refusal = door === 'sluice' ? undefined : refusalOf(speaker, publish, options)
    return refusal === undefined ? undefined : refuse({ id, speaker, publish }, refusal)
  }

  /** How many milliseconds until these may come in. */
  function brake(speaker: Speaker, arrivals: readonly Arrival[]): number {
    if (!hasLimit(speaker)) return 0
    return limiter.take(speaker.principal.name, bytesOf(arrivals), arrivals.length)
  }

  /** A bridge carries everybody's messages: its brake is flow control, not a limit made for one device. */
  function hasLimit({ principal }: Speaker): boolean {
    return principal.method !== 'bridge' && door !== 'sluice'
  }

  async function take(arrivals: readonly Arrival[]): Promise<readonly Accepted[]> {
    const rules = options.rules()
    const at = now()
    const planned = await all(arrivals, ({ id, speaker, publish }) =>
      planFor(messageFrom(id, at, speaker, publish), rules, planning),
    )
    // All of them before anything of one goes in: what came together goes in together, and a message never in part.
    const noRoom = room.complain(ownersOf(planned))
    if (noRoom !== undefined) return arrivals.map((arrival) => putOff(arrival, fullMs, noRoom))
    const plans = planned.map((plan) => withRoom(plan, room))
    const full = plans.filter(({ deliveries, refusal }) => refusal === undefined && deliveries.length > 0)
    let queued: Iterator<Promise<void>>
    try {
      queued = options.enqueue(full, rules.hash).values()
    } catch (error) {
      return arrivals.map((arrival) => failed(arrival, error))
    }
    return all(arrivals, async (arrival, index): Promise<Accepted> => {
      const plan = plans[index] as PlanWithRoom
      if (plan.refusal !== undefined) return refuse(arrival, plan.refusal)
      const adding = plan.deliveries.length === 0 ? [] : [queued.next().value as Promise<void>]
      try {
        await settle(adding, plan)
      } catch (error) {
        return failed(arrival, error)
      }
      for (const drop of plan.dropped) onDropped(drop)
      metrics.count('sluice_messages_accepted_total', { door })
      return { kind: 'accepted', id: arrival.id }
    })
  }

  /** Waits until everything that becomes of a message is durable. */
  async function settle(adding: Promise<void>[], { message, kept }: Plan): Promise<void> {
    const parts = [...adding, ...kept.map(({ rule, reason }) => options.keepFailed(message, rule, reason))]
    if (parts.length < 2) return parts[0]
    // All of them are waited for even when one fails: a publisher that is told 503 must not be overtaken by its own message.
    const settled = await Promise.allSettled(parts)
    const errors = settled.flatMap((result): unknown[] => (result.status === 'rejected' ? [result.reason] : []))
    const [first] = errors
    if (first === undefined) return
    // What one part of the message has come into, it is delivered from, whatever became of the others.
    const inDoubt =
      errors.length < settled.length || errors.some((error) => error instanceof QueueAwayError && error.inDoubt)
    if (!(first instanceof SluiceError)) throw first
    throw new QueueAwayError(first.message, inDoubt, { cause: first })
  }

  function failed(arrival: Arrival, error: unknown): NotAccepted {
    const { id } = arrival
    if (error instanceof QueueAwayError && error.inDoubt) metrics.count('sluice_messages_in_doubt_total', { door })
    if (!(error instanceof SluiceError)) options.log.error({ traceId: id, error: messageOf(error) }, 'accept failed')
    return putOff(arrival, awayMs, 'the queue cannot take messages now')
  }

  /** Its limit has been asked before, and may hold it back for longer: a wait that is shorter would only be answered 429. */
  function putOff({ id, speaker, publish }: Arrival, afterMs: number, message: string): NotAccepted {
    const pace = hasLimit(speaker) ? limiter.waitMs(speaker.principal.name, publish.payload.length) : 0
    return defer(id, 503, Math.max(afterMs, pace), message)
  }

  function refuse({ id, speaker, publish }: Arrival, refusal: Refusal): NotAccepted {
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
    return { kind: 'refused', id, status, reason, message, ...(because !== undefined && { because }) }
  }

  function refuseAll(arrivals: readonly Arrival[], refusal: Refusal): NotAccepted {
    const answers = arrivals.map((arrival) => refuse(arrival, refusal))
    return answers[0] as NotAccepted
  }

  function defer(id: string, status: 429 | 503, afterMs: number, message: string, messages = 1): NotAccepted {
    metrics.count('sluice_messages_deferred_total', { door, status: String(status) }, messages)
    return { kind: 'later', id, status, afterMs, message }
  }
}

/** `Promise.all` over a list, which costs a lone message, the common case, more than all the rest here. */
async function all<From, To>(list: readonly From[], make: (from: From, index: number) => Promise<To>): Promise<To[]> {
  const [first] = list
  return list.length === 1 && first !== undefined ? [await make(first, 0)] : Promise.all(list.map(make))
}

function bytesOf(arrivals: readonly Arrival[]): number {
  return arrivals.reduce((sum, { publish }) => sum + publish.payload.length, 0)
}

function messageFrom(id: string, at: number, speaker: Speaker, publish: Publish): Message {
  const thing = publish.thing ?? speaker.principal.thing
  // A message on behalf of another thing did not come from the speaker's own client.
  const clientId = publish.clientId ?? (publish.thing === undefined ? speaker.clientId : undefined)
  return {
    id,
    at,
    ...addressOf(publish.topic),
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

/** Whose queues messages would go to. */
function* ownersOf(plans: readonly Plan[]): Generator<string> {
  for (const { deliveries, kept } of plans) {
    for (const { worker } of deliveries) yield worker
    for (const { rule } of kept) yield ownerOf('rule', rule)
  }
}

type PlanWithRoom = Plan & { readonly dropped: readonly Drop[] }

/** A plan without what its owners let fall now: deliveries, and dead letters of rules that fail. */
function withRoom(plan: Plan, room: Room): PlanWithRoom {
  const { deliveries, dropped } = admit(plan.deliveries, room)
  const fallen = plan.kept.filter(({ rule }) => room.dropsNewest(ownerOf('rule', rule)))
  if (fallen.length === 0) return { ...plan, deliveries, dropped }
  const letters = fallen.map(({ rule }): Drop => ({
    owner: ownerOf('rule', rule),
    reason: 'full',
    entries: [{ rule, action: 0 }],
  }))
  const kept = plan.kept.filter((one) => !fallen.includes(one))
  return { ...plan, deliveries, kept, dropped: [...dropped, ...letters] }
}
