import type { Access, DataAction, Decision, Principal, Protocol, Speaker } from '../core/access.ts'
import type { Directory, NamedPolicy } from '../core/directory.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import { topicMatches } from '../core/topic.ts'
import { mayActFor } from '../identity/acts-for.ts'
import { createAuthenticate } from '../identity/authenticate.ts'
import { authMethods } from '../identity/index.ts'
import { createRegistry } from '../identity/registry.ts'
import { type Place, resourceArn, topicArn } from '../policy/arn.ts'
import { type CompiledPolicies, compilePolicies } from '../policy/compile.ts'
import type { PolicyContext, PolicyDecision } from '../policy/context.ts'
import { complainAboutReservedFilter, complainAboutReservedTopic } from '../policy/reserved-topics.ts'

/** A bridge as access control sees it: its principal, and what it may publish where no policy says. */
export interface BridgeAccess {
  readonly principal: string
  readonly topics: readonly string[]
  /** Names of policies; absent: it may publish what it subscribes. */
  readonly policies?: readonly string[]
}

export interface AccessOptions {
  readonly directory: Directory
  readonly bridges: readonly BridgeAccess[]
  /** Region and account in Sluice's own ARNs. */
  readonly arn: Place
  readonly log: Log
  readonly metrics: Metrics
}

interface Attached {
  readonly compiled: CompiledPolicies
  readonly policies: readonly NamedPolicy[]
}

/** Identities and policies, wired: an immutable snapshot of one load of identity/. */
export function createAccess({ directory, bridges, arn, log, metrics }: AccessOptions): Access {
  const registry = createRegistry(directory)
  const bridgeOf = new Map(bridges.map((bridge) => [bridge.principal, bridge]))
  // Compiled on first use and kept: the registry gives the same array for the same owner as long as this snapshot lives.
  const compiled = new Map<readonly NamedPolicy[], Attached>()

  function attached(policies: readonly NamedPolicy[]): Attached {
    let entry = compiled.get(policies)
    if (entry === undefined) {
      entry = { policies, compiled: compilePolicies(policies.map((policy) => policy.document)) }
      compiled.set(policies, entry)
    }
    return entry
  }

  const ofBridge = new Map(
    bridges.flatMap(({ principal, policies }) =>
      policies === undefined
        ? []
        : [[principal, policies.map((name) => directory.policies.get(name)).filter((policy) => policy !== undefined)]],
    ),
  )

  function decide(speaker: Speaker, action: DataAction, name: string): Decision {
    const decision = decided(speaker, action, name)
    if (!decision.allow) metrics.count('sluice_decisions_denied_total', { action })
    return decision
  }

  function decided(speaker: Speaker, action: DataAction, name: string): Decision {
    const reserved = complainAboutReserved(action, name)
    if (reserved !== undefined) return { allow: false, because: reserved, reserved: true }
    const bridge = bridgeOf.get(speaker.principal.name)
    if (bridge !== undefined && bridge.policies === undefined) return decideForOpenBridge(bridge, action, name)
    const own = attached(ofBridge.get(speaker.principal.name) ?? registry.policiesOfPrincipal(speaker.principal.name))
    const request = { action, resource: resourceArn(action, name, arn) }
    return said(own.compiled.decide(request, contextOf(speaker)), own.policies)
  }

  function contextOf({
    principal,
    protocol,
    clientId,
    sourceIp,
    connectAttributes,
    lastWillTopic,
  }: Speaker): PolicyContext {
    return {
      region: arn.region,
      accountId: arn.account,
      protocol,
      currentTime: Date.now(),
      ...factsOfThing(principal.thing, protocol),
      ...(clientId !== undefined && { clientId }),
      ...(sourceIp !== undefined && { sourceIp }),
      ...(connectAttributes !== undefined && { connectAttributes }),
      ...(lastWillTopic !== undefined && { lastWillTopic }),
    }
  }

  function factsOfThing(name: string | undefined, protocol: Protocol): PolicyContext {
    const thing = name === undefined ? undefined : registry.thing(name)
    if (thing === undefined) return { isAttached: false }
    // Over MQTT the client id must be the thing's name, as in AWS. Over HTTP there is none that could be another's, and the
    // principal's one thing is taken from its entry (docs/decisions/0003).
    return {
      thingName: thing.name,
      thingAttributes: thing.attributes,
      isAttached: true,
      exclusiveThing: protocol === 'http',
      ...(thing.type !== undefined && { thingType: thing.type }),
    }
  }

  return {
    authenticate: createAuthenticate(authMethods, { registry, log }),
    decide,
    decideForThing(thing, topic, retain) {
      const own = attached(registry.policiesOfThing(thing))
      // The thing itself isn't here: it is judged as if it had connected over MQTT under its own name.
      const context: PolicyContext = {
        region: arn.region,
        accountId: arn.account,
        protocol: 'mqtt',
        currentTime: Date.now(),
        clientId: thing,
        ...factsOfThing(thing, 'mqtt'),
      }
      return said(
        own.compiled.decide({ action: 'iot:Publish', resource: topicArn(topic, arn), retain }, context),
        own.policies,
      )
    },
    knowsThing: (thing) => registry.thing(thing) !== undefined,
    mayActFor: (principal: Principal, thing) => mayActFor(principal, thing),
  }
}

/** `$` topics that are closed to clients whatever their policies; `$aws/#` is an open filter, so deliveries are asked about too. */
function complainAboutReserved(action: DataAction, name: string): string | undefined {
  switch (action) {
    case 'iot:Publish':
      return complainAboutReservedTopic(name)
    case 'iot:Subscribe':
    case 'iot:Receive':
      return complainAboutReservedFilter(name)
    case 'iot:Connect':
    case 'iot:RetainPublish':
      return undefined
  }
}

/** A bridge without policies of its own may publish what it subscribes, and nothing else. */
function decideForOpenBridge(bridge: BridgeAccess, action: DataAction, name: string): Decision {
  const publishes = action === 'iot:Publish' || action === 'iot:RetainPublish'
  if (publishes && bridge.topics.some((filter) => topicMatches(filter, name))) return { allow: true }
  return {
    allow: false,
    because: 'the bridge has no policies, so it may publish what it subscribes and do nothing else',
  }
}

function said(decision: PolicyDecision, policies: readonly NamedPolicy[]): Decision {
  if (decision.decision === 'allow') return { allow: true }
  const { statement } = decision
  const policy = statement === undefined ? undefined : policies[statement.document]
  if (statement === undefined || policy === undefined) {
    const because =
      policies.length === 0
        ? 'no policy is attached'
        : `no statement of ${policies.map(({ name }) => name).join(', ')} allows it`
    return { allow: false, because }
  }
  const { file, line } = policy.position
  return {
    allow: false,
    because: `statement ${statement.statement + 1} of policy ${policy.name} denies it (${file}:${line})`,
  }
}
