import type { Access, DataAction, Decision, Principal, Speaker } from '../core/access.ts'
import type { Directory, NamedPolicy } from '../core/directory.ts'
import type { Metrics } from '../core/metrics.ts'
import { topicMatches } from '../core/topic.ts'
import { mayActFor } from '../identity/acts-for.ts'
import type { Records } from '../identity/records.ts'
import { createRegistry, type Registry } from '../identity/registry.ts'
import { type Place, resourceArn, topicArn } from '../policy/arn.ts'
import { type CompiledPolicies, compilePolicies } from '../policy/compile.ts'
import type { PolicyContext, PolicyDecision } from '../policy/context.ts'
import {
  complainAboutReservedFilter,
  complainAboutReservedTopic,
  complainAboutRetained,
} from '../policy/reserved-topics.ts'
import { contextOf, contextOfThing } from './policy-context.ts'

/** A bridge as access control sees it: its principal, and what it may publish where no policy says. */
export interface BridgeAccess {
  readonly principal: string
  readonly topics: readonly string[]
  /** Names of policies; absent: it may publish what it subscribes. */
  readonly policies?: readonly string[]
}

export interface DecisionsOptions {
  readonly directory: Directory
  readonly bridges: readonly BridgeAccess[]
  /** Region and account in Sluice's own ARNs. */
  readonly arn: Place
  /** What has registered itself; absent where the files alone count. */
  readonly records?: Records
  /** Grows whenever the records change: what was made of them is made anew. */
  readonly recordsVersion: () => number
  readonly now: () => number
  readonly metrics: Metrics
}

/** Policies in force together, compiled. */
interface Attached {
  readonly compiled: CompiledPolicies
  readonly policies: readonly NamedPolicy[]
  /** Those of a role, which count on behind the others in decisions. */
  readonly role: readonly NamedPolicy[]
}

/** What is kept of a speaker: as long as its connection, and until identities change. */
interface Judged {
  readonly attached: Attached
  readonly context: PolicyContext
  readonly decisions: Map<string, Decision>
}

/** Decisions kept for one connection: a device has few topics, and one with many has no use for it. */
const decisionsKept = 256

/** What may be done, and who there is behind it. */
export interface Decisions extends Omit<Access, 'authenticate' | 'renew'> {
  readonly registry: Registry
}

/** Decides by one load of identity/, and by the records that change beside it: what doors ask, and what is tried out on files. */
export function createDecisions(options: DecisionsOptions): Decisions {
  const { directory, bridges, arn, records, recordsVersion, now, metrics } = options
  const registry = createRegistry(directory, records)
  const bridgeOf = new Map(bridges.map((bridge) => [bridge.principal, bridge]))
  // Compiled on first use: the registry gives the same array for the same policies.
  const compiled = new WeakMap<readonly NamedPolicy[], CompiledPolicies>()
  let judged = new WeakMap<Speaker, Judged>()
  let last: { readonly speaker: Speaker; readonly judged: Judged } | undefined
  let judgedAt = recordsVersion()

  function compile(policies: readonly NamedPolicy[]): CompiledPolicies {
    let known = compiled.get(policies)
    if (known === undefined) {
      known = compilePolicies(policies.map((policy) => policy.document))
      compiled.set(policies, known)
    }
    return known
  }

  const ofBridge = new Map(
    bridges.flatMap(({ principal, policies }) =>
      policies === undefined ? [] : [[principal, registry.policiesNamed(policies)] as const],
    ),
  )

  /** The same array each time, because what is compiled from it is kept by it. */
  const documentsOf = new WeakMap<readonly NamedPolicy[], readonly unknown[]>()
  function roleDocuments(role: readonly NamedPolicy[]): readonly unknown[] {
    let documents = documentsOf.get(role)
    if (documents === undefined) documentsOf.set(role, (documents = role.map(({ document }) => document)))
    return documents
  }

  function attachedTo(principal: Principal): Attached {
    const named = (isBridge(principal) ? ofBridge.get(principal.name) : undefined) ?? registry.policiesOf(principal)
    const { documents = [], pool } = principal
    const policies = documents.length === 0 ? named : [...named, ...documents.map(fromProof)]
    return { compiled: compile(policies), policies, role: registry.policiesNamed(pool?.role ?? []) }
  }

  function judgedOf(speaker: Speaker): Judged {
    if (judgedAt !== recordsVersion()) {
      judgedAt = recordsVersion()
      judged = new WeakMap()
      last = undefined
    }
    let known = speaker === last?.speaker ? last.judged : judged.get(speaker)
    if (known === undefined) {
      const attached = attachedTo(speaker.principal)
      const role = speaker.principal.pool === undefined ? undefined : roleDocuments(attached.role)
      known = { attached, context: contextOf(speaker, registry, arn, role), decisions: new Map() }
      last = { speaker, judged: known }
      // Over HTTP a speaker is one request: of those the last is enough, and cheaper than what a WeakMap costs the collector.
      if (speaker.protocol !== 'http') judged.set(speaker, known)
    }
    return known
  }

  function decide(speaker: Speaker, action: DataAction, name: string): Decision {
    const decision = decided(speaker, action, name)
    if (!decision.allow) metrics.count('sluice_decisions_denied_total', { action, by: decision.by })
    return decision
  }

  function decided(speaker: Speaker, action: DataAction, name: string): Decision {
    const bridge = isBridge(speaker.principal) ? bridgeOf.get(speaker.principal.name) : undefined
    if (bridge !== undefined && bridge.policies === undefined) {
      return reservedDenial(action, name) ?? decideForOpenBridge(bridge, action, name)
    }
    const { attached, context, decisions } = judgedOf(speaker)
    const key = `${action} ${name}`
    const known = decisions.get(key)
    if (known !== undefined) return known
    const decision = reservedDenial(action, name) ?? ask(attached, context, action, name)
    // What may change with the clock is asked every time.
    if (!usesTime(attached)) {
      if (decisions.size >= decisionsKept) decisions.clear()
      decisions.set(key, decision)
    }
    return decision
  }

  function ask(attached: Attached, context: PolicyContext, action: DataAction, name: string): Decision {
    const timed = usesTime(attached) ? { ...context, currentTime: now() } : context
    return said(attached.compiled.decide({ action, resource: resourceArn(action, name, arn) }, timed), attached)
  }

  function usesTime({ compiled, role }: Attached): boolean {
    return compiled.usesTime || (role.length > 0 && compile(role).usesTime)
  }

  return {
    registry,
    decide,
    decideForThing(thing, topic, retain) {
      const policies = registry.policiesOfThing(thing)
      const attached: Attached = { compiled: compile(policies), policies, role: [] }
      const context = { ...contextOfThing(thing, registry, arn), currentTime: now() }
      return said(
        attached.compiled.decide({ action: 'iot:Publish', resource: topicArn(topic, arn), retain }, context),
        attached,
      )
    },
    knowsThing: (thing) => registry.thing(thing) !== undefined,
    mayActFor: (principal, thing) => mayActFor(principal, thing),
  }
}

/** A document that came with a proof stands in no file. */
function fromProof(document: unknown, index: number): NamedPolicy {
  const name = `(document ${index + 1} of the proof)`
  return { name, document, position: { file: name, line: 1, column: 1 } }
}

function reservedDenial(action: DataAction, name: string): Decision | undefined {
  const because = complainAboutReserved(action, name)
  return because === undefined ? undefined : { allow: false, because, by: 'reserved', reserved: true }
}

/** `$` topics that are closed to clients whatever their policies; `$aws/#` is an open filter, so deliveries are asked about too. */
function complainAboutReserved(action: DataAction, name: string): string | undefined {
  switch (action) {
    case 'iot:Publish':
      return complainAboutReservedTopic(name)
    case 'iot:Subscribe':
    case 'iot:Receive':
      return complainAboutReservedFilter(name)
    case 'iot:RetainPublish':
      return complainAboutRetained(name)
    case 'iot:Connect':
      return undefined
  }
}

/** Not whoever has a bridge's name: an entry in identity/ may have any. */
function isBridge({ method }: Principal): boolean {
  return method === 'bridge'
}

/** A bridge without policies of its own may publish what it subscribes, and nothing else. */
function decideForOpenBridge(bridge: BridgeAccess, action: DataAction, name: string): Decision {
  const publishes = action === 'iot:Publish' || action === 'iot:RetainPublish'
  if (publishes && bridge.topics.some((filter) => topicMatches(filter, name))) return { allow: true }
  return {
    allow: false,
    because: 'the bridge has no policies, so it may publish what it subscribes and do nothing else',
    by: 'none',
  }
}

function said(decision: PolicyDecision, { policies, role }: Pick<Attached, 'policies' | 'role'>): Decision {
  if (decision.decision === 'allow') return { allow: true }
  const { statement } = decision
  const all = [...policies, ...role]
  const policy = statement === undefined ? undefined : all[statement.document]
  if (statement === undefined || policy === undefined) {
    const because =
      all.length === 0 ? 'no policy is attached' : `no statement of ${all.map(({ name }) => name).join(', ')} allows it`
    return { allow: false, because, by: 'none' }
  }
  const { file, line } = policy.statements?.[statement.statement] ?? policy.position
  const number = statement.statement + 1
  return {
    allow: false,
    because: `statement ${number} of policy ${policy.name} denies it (${file}:${line})`,
    // A label for each policy that a device has brought along, or was provisioned with, would be a label a device.
    by: `${policy.statements === undefined ? 'other' : policy.name}/${number}`,
  }
}
