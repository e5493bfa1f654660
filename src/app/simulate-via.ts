import { z } from 'zod'
import type { Config } from '../config/load.ts'
import type { Principal, Publish, Speaker } from '../core/access.ts'
import { SluiceError } from '../core/errors.ts'
import { uncounted } from '../core/metrics.ts'
import { suggestion } from '../core/nearest.ts'
import { principalFrom } from '../identity/method.ts'
import type { Records } from '../identity/records.ts'
import { attribute } from '../ingest/bridge/attribute.ts'
import { clientIdOf } from '../ingest/bridge/client-id.ts'
import { refusalOf } from '../ingest/judge.ts'
import { topicArn } from '../policy/arn.ts'
import { accessOfBridge, bridgePrincipal, principalOfBridge } from './bridges.ts'
import { createDecisions, type Decisions } from './decisions.ts'
import { fromMessage } from './from-message.ts'

/** What a decision takes of a configuration. */
export type KnownVia = Pick<Config, 'directory'> & {
  readonly settings: Pick<Config['settings'], 'arn' | 'bridges' | 'limits'>
  /** What has registered itself, in a running ingest; the files alone without it. */
  readonly records?: Records
}

const simulation = z.strictObject({
  via: z.string(),
  thing: z.string().exactOptional(),
  action: z.string(),
  resource: z.string(),
  clientId: z.string().exactOptional(),
  sourceIp: z.string().exactOptional(),
  serverName: z.string().exactOptional(),
  protocol: z.enum(['mqtt', 'mqtt-ws', 'http']),
  retain: z.boolean(),
  now: z.number(),
})

/** A message that somebody (`via`: a bridge, or a principal with `actsFor`) hands in on behalf of a thing. */
export type ViaSimulation = z.infer<typeof simulation>

export interface SimulatedVia {
  readonly decision: 'allow' | 'deny'
  readonly via: string
  /** Whose message it would be; absent where it is the speaker's own. */
  readonly thing?: string
  readonly resource: string
  /** As metrics count it; absent where it is let in. */
  readonly reason?: string
  readonly because: string
}

/** Whether it is a question of this kind. */
export function asksVia(asked: unknown): boolean {
  return typeof asked === 'object' && asked !== null && 'via' in asked
}

/** Reads what somebody asks over the control channel. Throws SluiceError WRONG_USE. */
export function readViaSimulation(asked: unknown): ViaSimulation {
  const read = simulation.safeParse(asked)
  if (read.success) return read.data
  throw new SluiceError('WRONG_USE', z.prettifyError(read.error))
}

/**
 * Answers as accept would: whether the speaker may name the thing, what its own policies say, whether the thing is known, and what the
 * thing's own policies say. Without `thing`, a bridge's `thing:` is asked about the topic. Throws SluiceError WRONG_USE for a name
 * that there isn't, and for what nobody does through another.
 */
export async function simulateVia(known: KnownVia, asked: ViaSimulation): Promise<SimulatedVia> {
  const { directory, settings, records } = known
  const decisions = createDecisions({
    directory,
    bridges: settings.bridges.map(accessOfBridge),
    arn: settings.arn,
    ...(records !== undefined && { records }),
    recordsVersion: () => 0,
    now: () => asked.now,
    metrics: uncounted,
  })
  const topic = topicOf(asked)
  const speaker = speakerOf(known, decisions, asked)
  const retain = asked.retain || asked.action.toLowerCase() === 'iot:retainpublish'
  const publish: Publish = { topic, payload: Buffer.alloc(0), qos: 1, retain }
  const common = { via: asked.via, resource: topicArn(topic, settings.arn) }
  const named = asked.thing === undefined ? await attributed(known, asked, publish) : { ...publish, thing: asked.thing }
  if ('because' in named) return { decision: 'deny', ...common, reason: 'request', because: named.because }
  const of = { ...common, ...(named.thing !== undefined && { thing: named.thing }) }
  const { topicBytes, topicLevels, payload } = settings.limits
  const limits = { bytes: topicBytes, levels: topicLevels, payload }
  const access = { ...decisions, authenticate: nobody, renew: nobody }
  const refusal = refusalOf(speaker, named, { access: () => access, limits })
  if (refusal === undefined)
    return { decision: 'allow', ...of, because: whyAllowed(speaker.principal, named, decisions) }
  return { decision: 'deny', ...of, reason: refusal.reason, because: refusal.because ?? refusal.message }
}

function whyAllowed({ name, trust }: Principal, { thing }: Publish, decisions: Decisions): string {
  if (thing === undefined) return `${name} may publish it`
  if (!decisions.knowsThing(thing)) return `${name} may, and unknown things are allowed`
  return trust === 'topics'
    ? `${name} may, and the topic alone decides (trust)`
    : `${name} may, and so may the thing itself`
}

function topicOf({ action, resource }: ViaSimulation): string {
  const name = action.toLowerCase()
  if (name !== 'iot:publish' && name !== 'iot:retainpublish')
    throw new SluiceError('WRONG_USE', `nobody does ${action} for a thing; ask about iot:Publish, or without --via`)
  if (!resource.startsWith('arn:')) return resource
  const topic = /^arn(?::[^:]*){4}:topic\/(?<topic>[^]+)$/.exec(resource)?.groups?.['topic']
  if (topic === undefined) throw new SluiceError('WRONG_USE', `${resource} is not the ARN of a topic`)
  return topic
}

function bridgeOf({ settings }: KnownVia, via: string) {
  return settings.bridges.find(({ name }) => bridgePrincipal(name) === via)
}

function speakerOf(known: KnownVia, { registry }: Decisions, asked: ViaSimulation): Speaker {
  const { via, protocol, clientId, sourceIp, serverName } = asked
  const bridge = bridgeOf(known, via)
  if (bridge !== undefined) {
    const own = bridge.clientId ?? clientIdOf(bridge.name, 1)
    return { principal: principalOfBridge(bridge), protocol: 'mqtt', clientId: own }
  }
  const entry = registry.principal(via)
  if (entry === undefined) {
    const names = known.settings.bridges.map(({ name }) => bridgePrincipal(name))
    const close = suggestion(via, [...names, ...known.directory.principals.keys()])
    throw new SluiceError('WRONG_USE', `there is no bridge or principal "${via}"${close}`)
  }
  const principal = principalFrom(entry, 'simulated')
  const own = protocol === 'http' ? undefined : (clientId ?? principal.thing)
  return {
    principal,
    protocol,
    ...(own !== undefined && { clientId: own }),
    ...(sourceIp !== undefined && { sourceIp }),
    ...(serverName !== undefined && { serverName }),
  }
}

/** What a bridge finds in the topic; its payload and its properties are nobody's to say here. */
async function attributed(known: KnownVia, { via }: ViaSimulation, publish: Publish) {
  const thing = bridgeOf(known, via)?.thing
  if (thing === undefined) return publish
  const found = await attribute(publish, { thing: typeof thing === 'string' ? fromMessage(thing) : thing })
  return 'because' in found ? { because: `${found.because}; name it with --thing` } : found.publish
}

/** Nobody comes in here. */
async function nobody(): Promise<{ readonly kind: 'absent' }> {
  return { kind: 'absent' }
}
