import type { Directory, NamedPolicy, PrincipalEntry, Thing, ThingGroup } from '../core/directory.ts'

/**
 * Who there is, and which policies speak about them: an immutable snapshot, replaced whole on reload. It evaluates no
 * policy. Lists of policies are the same array each time they are asked for, so that what is compiled from one may be
 * kept by it. Unknown names give undefined or an empty list: no policy, no action.
 */
export interface Registry {
  principal(name: string): PrincipalEntry | undefined
  principals(): Iterable<PrincipalEntry>
  thing(name: string): Thing | undefined
  /** The thing's groups and all their ancestors, each once. */
  groupsOfThing(name: string): readonly ThingGroup[]
  /** Policies of the thing itself and of its groups with all ancestors. */
  policiesOfThing(name: string): readonly NamedPolicy[]
  /** Policies of the principal and of the thing it is attached to (aws-security §7.5: the effective policies). */
  policiesOfPrincipal(name: string): readonly NamedPolicy[]
}

const none: readonly never[] = Object.freeze([])

/** Builds the snapshot. Throws on a reference that leads nowhere: a missing policy could be the one that denies. */
export function createRegistry(directory: Directory): Registry {
  const { things, groups, principals, policies } = directory
  const ofThing = new Map<string, readonly NamedPolicy[]>()
  const ofPrincipal = new Map<string, readonly NamedPolicy[]>()
  for (const thing of things.values()) ofThing.set(thing.name, collect(thing.policies, groupsOf(thing)))
  for (const entry of principals.values()) ofPrincipal.set(entry.name, policiesOf(entry))

  return {
    principal: (name) => principals.get(name),
    principals: () => principals.values(),
    thing: (name) => things.get(name),
    groupsOfThing(name) {
      const thing = things.get(name)
      return thing === undefined ? none : groupsOf(thing)
    },
    policiesOfThing: (name) => ofThing.get(name) ?? none,
    policiesOfPrincipal: (name) => ofPrincipal.get(name) ?? none,
  }

  function policiesOf(entry: PrincipalEntry): readonly NamedPolicy[] {
    if (entry.thing === undefined) return collect(entry.policies, [])
    const thing = found(things, entry.thing, `principal "${entry.name}" is attached to the thing`)
    return collect([...entry.policies, ...thing.policies], groupsOf(thing))
  }

  function groupsOf(thing: Thing): readonly ThingGroup[] {
    // A Set keeps the first place of each; meeting a group again also ends a circle of parents.
    const met = new Set<ThingGroup>()
    for (const name of thing.groups) {
      let next: string | undefined = name
      while (next !== undefined) {
        const group: ThingGroup = found(groups, next, `thing "${thing.name}" is in the group`)
        if (met.has(group)) break
        met.add(group)
        next = group.parent
      }
    }
    return [...met]
  }

  function collect(names: readonly string[], from: readonly ThingGroup[]): readonly NamedPolicy[] {
    const all = new Set([...names, ...from.flatMap((group) => group.policies)])
    return Object.freeze([...all].map((name) => found(policies, name, 'something has the policy')))
  }
}

function found<Value>(map: ReadonlyMap<string, Value>, name: string, what: string): Value {
  const value = map.get(name)
  if (value === undefined) throw new Error(`${what} "${name}", and there is none of that name`)
  return value
}
