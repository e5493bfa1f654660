import { z } from 'zod'
import type { Principal, Protocol, Speaker } from '../core/access.ts'
import type { Config } from '../config/load.ts'
import type { NamedPolicy, PrincipalEntry } from '../core/directory.ts'
import { SluiceError } from '../core/errors.ts'
import { suggestion } from '../core/nearest.ts'
import type { Position } from '../core/problem.ts'
import { principalFrom } from '../identity/method.ts'
import type { Records } from '../identity/records.ts'
import { createRegistry, type Registry } from '../identity/registry.ts'
import { certificatesOf } from '../identity/x509/proof.ts'
import { type Action, actions } from '../policy/actions.ts'
import { resourceArn } from '../policy/arn.ts'
import { compilePolicies } from '../policy/compile.ts'
import type { PolicyDecision } from '../policy/context.ts'
import { notesOnPolicyDocument } from '../policy/examine.ts'
import type { Complaint } from '../policy/report.ts'
import {
  complainAboutReservedFilter,
  complainAboutReservedTopic,
  complainAboutRetained,
} from '../policy/reserved-topics.ts'
import { bridgePrincipal } from './bridges.ts'
import { contextOf } from './policy-context.ts'

/** What a decision takes of a configuration. */
export type Known = Pick<Config, 'directory'> & {
  readonly settings: Pick<Config['settings'], 'arn' | 'bridges'>
  /** What has registered itself, in a running ingest; the files alone without it. */
  readonly records?: Records
}

/** Somebody who isn't here, and what they would do. */
export interface Simulation {
  readonly principal: string
  readonly action: string
  /** A whole ARN, `*`, or the name of what the action is about. */
  readonly resource: string
  readonly protocol: Protocol
  /** Over MQTT, the name of the principal's thing by default. */
  readonly clientId?: string
  readonly sourceIp?: string
  readonly serverName?: string
  readonly retain: boolean
  /** Milliseconds since 1970. */
  readonly now: number
}

const simulation = z.strictObject({
  principal: z.string(),
  action: z.string(),
  resource: z.string(),
  protocol: z.enum(['mqtt', 'mqtt-ws', 'http']),
  clientId: z.string().exactOptional(),
  sourceIp: z.string().exactOptional(),
  serverName: z.string().exactOptional(),
  retain: z.boolean(),
  now: z.number(),
})

/** Reads what somebody asks over the control channel. Throws SluiceError WRONG_USE. */
export function readSimulation(asked: unknown): Simulation {
  const read = simulation.safeParse(asked)
  if (read.success) return read.data
  throw new SluiceError('WRONG_USE', z.prettifyError(read.error))
}

export interface Simulated {
  readonly decision: 'allow' | 'deny'
  /** A statement denies it, or the topic is reserved; false with `deny`: nothing allows it. */
  readonly explicit: boolean
  readonly action: Action
  readonly resource: string
  readonly clientId?: string
  /** The statement that decided; its number counts from 1. */
  readonly statement?: Position & { readonly policy: string; readonly number: number }
  readonly because: string
  readonly missingContextValues: readonly string[]
}

/** Decides as a door would, by the files of identity/ and the records. Throws SluiceError WRONG_USE for a name that there isn't. */
export function simulate(known: Known, asked: Simulation): Simulated {
  const { directory, settings, records } = known
  const registry = createRegistry(directory, records)
  const { principal, policies } = find(registry, known, asked.principal)
  const action = actions.find((known) => known.toLowerCase() === asked.action.toLowerCase())
  if (action === undefined) {
    const hint = suggestion(asked.action, actions, (close) => close) || `; there are ${actions.join(', ')}`
    throw new SluiceError('WRONG_USE', `there is no action "${asked.action}"${hint}`)
  }
  const place = settings.arn
  const whole = asked.resource === '*' || asked.resource.startsWith('arn:')
  const resource = whole ? asked.resource : resourceArn(action, asked.resource, place)
  const speaker = speakerOf(asked, principal, action, resource)
  const { clientId } = speaker
  const common = { action, resource, ...(clientId !== undefined && { clientId }) }

  const reserved = complainAboutReserved(action, resource, asked.retain)
  if (reserved !== undefined)
    return { decision: 'deny', explicit: true, ...common, because: reserved, missingContextValues: [] }

  const { statement, ...explained } = compilePolicies(policies.map(({ document }) => document)).explain(
    { action, resource, retain: asked.retain, ...(action === 'iot:ListNamedShadowsForThing' && thingOf(asked)) },
    { ...contextOf(speaker, registry, place), currentTime: asked.now },
  )
  const policy = statement === undefined ? undefined : policies[statement.document]
  return {
    ...explained,
    ...common,
    ...(statement !== undefined &&
      policy !== undefined && {
        statement: {
          policy: policy.name,
          number: statement.statement + 1,
          ...(policy.statements?.[statement.statement] ?? policy.position),
        },
      }),
    because: reasonOf(explained, policies),
  }
}

function reasonOf({ decision, explicit }: PolicyDecision, policies: readonly NamedPolicy[]): string {
  if (decision === 'allow') return 'a statement allows it'
  if (explicit) return 'a statement denies it'
  if (policies.length === 0) return 'no policy is attached'
  return `no statement of ${policies.map(({ name }) => name).join(', ')} allows it`
}

function speakerOf(asked: Simulation, principal: Principal, action: Action, resource: string): Speaker {
  const { protocol, sourceIp, serverName } = asked
  const named = action === 'iot:Connect' ? lastPart(resource, 'client') : undefined
  const clientId = protocol === 'http' ? undefined : (asked.clientId ?? named ?? principal.thing)
  return {
    principal,
    protocol,
    ...(clientId !== undefined && { clientId }),
    ...(sourceIp !== undefined && { sourceIp }),
    ...(serverName !== undefined && { serverName }),
  }
}

/** The name in an ARN of this type. */
function lastPart(resource: string, type: string): string | undefined {
  return new RegExp(`^arn(?::[^:]*){4}:${type}/(?<name>[^]*)$`).exec(resource)?.groups?.['name']
}

function thingOf({ resource }: Simulation): { readonly thingName?: string } {
  return resource === '*' || resource.startsWith('arn:') ? {} : { thingName: resource }
}

/** What the doors refuse before any policy is asked. */
function complainAboutReserved(action: Action, resource: string, retain: boolean): string | undefined {
  const topic = lastPart(resource, 'topic')
  if (action === 'iot:Publish')
    return (
      complaint(complainAboutReservedTopic, topic) ?? (retain ? complaint(complainAboutRetained, topic) : undefined)
    )
  if (action === 'iot:RetainPublish') return complaint(complainAboutRetained, topic)
  if (action === 'iot:Subscribe') return complaint(complainAboutReservedFilter, lastPart(resource, 'topicfilter'))
  if (action === 'iot:Receive') return complaint(complainAboutReservedFilter, topic)
  return undefined
}

function complaint(complain: (name: string) => string | undefined, name: string | undefined): string | undefined {
  return name === undefined ? undefined : complain(name)
}

/** A policy in force, and all the ways on which it came to be. */
export interface EffectivePolicy {
  readonly name: string
  readonly position: Position
  /** `principal`, `thing d-17`, `group field`, `group all, parent of field`. */
  readonly through: readonly string[]
  /** What AWS would not take, or would read otherwise. */
  readonly notes: readonly Complaint[]
}

/** The policies in force for a principal, as its files say (AWS, "GetEffectivePolicies"). Throws SluiceError WRONG_USE. */
export function effectivePolicies(known: Known, name: string): readonly EffectivePolicy[] {
  const { directory, records } = known
  const registry = createRegistry(directory, records)
  const { principal, policies } = find(registry, known, name)
  const ways: (readonly [way: string, names: readonly string[]])[] = []
  const entry = entryOf(registry, name) ?? records?.certificate(name)
  const thing = principal.thing === undefined ? undefined : registry.thing(principal.thing)
  if (entry !== undefined) ways.push(['principal', entry.policies])
  else ways.push([name, policies.map((policy) => policy.name)])
  if (thing !== undefined) ways.push([`thing ${thing.name}`, thing.policies])
  for (const group of thing?.groups ?? []) ways.push(...waysOfGroup(registry, group))
  return policies.map(({ name, document, position }) => ({
    name,
    position,
    through: [...new Set(ways.filter(([, names]) => names.includes(name)).map(([way]) => way))],
    notes: notesOnPolicyDocument(document),
  }))
}

function waysOfGroup(registry: Registry, name: string): (readonly [string, readonly string[]])[] {
  const ways: (readonly [string, readonly string[]])[] = []
  const met = new Set<string>()
  let below = ''
  let group = registry.group(name)
  while (group !== undefined && !met.has(group.name)) {
    met.add(group.name)
    ways.push([`group ${group.name}${below}`, group.policies])
    below = `, parent of ${group.name}`
    group = group.parent === undefined ? undefined : registry.group(group.parent)
  }
  return ways
}

/** By its name, or by the fingerprint of a certificate that stands in it. */
function entryOf(registry: Registry, name: string): PrincipalEntry | undefined {
  const holds = ({ proofs }: PrincipalEntry): boolean =>
    proofs['x509'] !== undefined && certificatesOf(proofs['x509']).some(({ fingerprint }) => fingerprint === name)
  const named = registry.principal(name)
  return named !== undefined || !/^[\da-f]{64}$/.test(name) ? named : [...registry.principals()].find(holds)
}

/** What to do instead for `<issuer>:<sub>` and `<authorizer>:<principalId>`. */
function cameAlong({ sections }: Known['directory'], name: string): string {
  const [from = ''] = name.split(/[:#]/, 1)
  if (from === name || ![...sections.values()].some((entries) => entries.has(from))) return ''
  return `: what applies to somebody of "${from}" is known only when they come; the log says what they were refused, and why`
}

function find(
  registry: Registry,
  { directory, settings, records }: Known,
  name: string,
): { readonly principal: Principal; readonly policies: readonly NamedPolicy[] } {
  const entry = entryOf(registry, name)
  if (entry !== undefined) {
    const principal = principalFrom(entry, 'simulated')
    return { principal, policies: registry.policiesOf(principal) }
  }
  const record = records?.certificate(name)
  if (record !== undefined) {
    // What its certificate says is not kept: variables of certificates have no value here.
    const { thing } = record
    const principal: Principal = { name, method: 'x509', id: name, ...(thing !== undefined && { thing }) }
    return { principal, policies: registry.policiesOf(principal) }
  }
  const bridge = settings.bridges.find((bridge) => bridgePrincipal(bridge.name) === name)
  if (bridge?.policies !== undefined) {
    return { principal: { name, method: 'bridge' }, policies: registry.policiesNamed(bridge.policies) }
  }
  if (bridge !== undefined) {
    const message = `the bridge "${bridge.name}" has no policies: it may publish what it subscribes, and do nothing else; --via ${name} says what becomes of a message`
    throw new SluiceError('WRONG_USE', message)
  }
  const close = suggestion(name, [
    ...directory.principals.keys(),
    ...settings.bridges.map((one) => bridgePrincipal(one.name)),
  ])
  throw new SluiceError('WRONG_USE', `identity/ has no principal "${name}"${close}${cameAlong(directory, name)}`)
}
