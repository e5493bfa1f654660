import type { Access, Publish, RefusalReason, Speaker } from '../core/access.ts'
import { isPublisherId } from '../core/id.ts'
import { complainAboutTopicName, type TopicLimits } from '../core/topic.ts'

/** What a door answers to a message that it doesn't take, and for the log (`because`) why. */
export interface Refusal {
  readonly status: 400 | 403 | 404 | 413
  readonly reason: RefusalReason
  readonly message: string
  readonly because?: string
}

export interface JudgeOptions {
  readonly access: () => Access
  readonly limits: TopicLimits & { readonly payload: number }
}

/** Why a message may not come in; undefined where it may. What rules make of it is not looked at yet. */
export function refusalOf(speaker: Speaker, publish: Publish, options: JudgeOptions): Refusal | undefined {
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

export function forbidden(reason: RefusalReason, message: string, because: string): Refusal {
  return { status: 403, reason, message, because }
}
