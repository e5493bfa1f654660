import type { Protocol, Speaker } from '../core/access.ts'
import type { Registry } from '../identity/registry.ts'
import type { Place } from '../policy/arn.ts'
import type { PolicyContext } from '../policy/context.ts'

/** What policies may ask about a speaker, all but the time. `rolePolicies` are the documents of its role, where it has one. */
export function contextOf(
  speaker: Speaker,
  registry: Registry,
  place: Place,
  rolePolicies?: readonly unknown[],
): PolicyContext {
  const { principal, protocol, clientId, sourceIp, serverName, connectAttributes, lastWillTopic } = speaker
  const { certificate, pool } = principal
  return {
    region: place.region,
    accountId: place.account,
    protocol,
    ...factsOfThing(principal.thing, protocol, registry),
    ...(clientId !== undefined && { clientId }),
    ...(sourceIp !== undefined && { sourceIp }),
    ...(serverName !== undefined && { domainName: serverName }),
    ...(connectAttributes !== undefined && { connectAttributes }),
    ...(lastWillTopic !== undefined && { lastWillTopic }),
    ...(certificate !== undefined && { certificate }),
    ...(pool !== undefined && { principal: { type: `cognito-${pool.kind}`, identityId: pool.identityId } }),
    ...(rolePolicies !== undefined && { rolePolicies }),
  }
}

/** A thing isn't here itself when somebody speaks for it: it is judged as if it had connected over MQTT under its own name. */
export function contextOfThing(thing: string, registry: Registry, place: Place): PolicyContext {
  return {
    region: place.region,
    accountId: place.account,
    protocol: 'mqtt',
    clientId: thing,
    ...factsOfThing(thing, 'mqtt', registry),
  }
}

function factsOfThing(name: string | undefined, protocol: Protocol, registry: Registry): PolicyContext {
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
