import type { Principal } from '../core/access.ts'
import type { Directory, NamedPolicy, PrincipalEntry, SectionEntry, Thing, ThingGroup } from '../core/directory.ts'
import type { CertificateRecord, Records } from './records.ts'
import { noRecords } from './records.ts'

/**
 * Who there is, and which policies speak about them: the files of identity/, an immutable snapshot that is replaced whole on
 * reload, and beside them the records that ingest keeps itself. The files win. It evaluates no policy. Lists of policies are
 * the same array each time they are asked for, until something about them changes, so that what is compiled from one may be kept
 * by it. Unknown names give undefined or an empty list: no policy, no action.
 */
export interface Registry {
  /** An entry in the files. */
  principal(name: string): PrincipalEntry | undefined
  principals(): Iterable<PrincipalEntry>
  /** A thing in the files or the records. */
  thing(name: string): Thing | undefined
  /** A group in the files. */
  group(name: string): ThingGroup | undefined
  /** The thing's groups and all their ancestors, each once. */
  groupsOfThing(name: string): readonly ThingGroup[]
  /** Policies of the thing itself and of its groups with all ancestors. */
  policiesOfThing(name: string): readonly NamedPolicy[]
  /**
   * Policies of a principal: of its entry or record, of its thing with all groups (aws-security §7.5: the effective policies), and
   * those that its proof attaches by name. Not its `documents` and not those of its role.
   */
  policiesOf(principal: Principal): readonly NamedPolicy[]
  /** The policies of these names. One that doesn't exist denies everything. */
  policiesNamed(names: readonly string[]): readonly NamedPolicy[]
  /** The entries of a section: `issuers`, `authorizers`, … */
  section(key: string): ReadonlyMap<string, SectionEntry>
  /** Whether any principal has a proof for this method. */
  uses(type: string): boolean
  /** Whether an authorizer is asked about those who name none. */
  readonly hasDefaultAuthorizer: boolean
}

const none: readonly never[] = Object.freeze([])
const noEntries: ReadonlyMap<string, SectionEntry> = new Map()

/** Builds the snapshot. Throws on a reference between files that leads nowhere: a missing policy could be the one that denies. */
export function createRegistry(directory: Directory, records: Records = noRecords): Registry {
  const { things, groups, principals, policies, sections } = directory
  const methods = new Set([...principals.values()].flatMap(({ proofs }) => Object.keys(proofs)))
  for (const thing of things.values()) requireAll(thing.policies, policies, `thing "${thing.name}" has the policy`)
  for (const group of groups.values()) requireAll(group.policies, policies, `group "${group.name}" has the policy`)
  for (const thing of things.values()) requireAll(thing.groups, groups, `thing "${thing.name}" is in the group`)
  for (const { name, thing, policies: own } of principals.values()) {
    requireAll(own, policies, `principal "${name}" has the policy`)
    if (thing !== undefined) requireAll([thing], things, `principal "${name}" is attached to the thing`)
  }

  /** Lists by what they were made of: equal sets give the same array, and with it what was compiled from it. */
  const lists = new Map<string, readonly NamedPolicy[]>()
  const single = new WeakMap<NamedPolicy, readonly NamedPolicy[]>()
  const thingOf = (name: string): Thing | undefined => things.get(name) ?? records.thing(name)
  const policyOf = (name: string): NamedPolicy | undefined => policies.get(name) ?? records.policy(name)
  /** Stand in for policies that records name and nobody has any more: one could be the policy that denies, so they deny. */
  const denying = new Map<string, NamedPolicy>()

  return {
    principal: (name) => principals.get(name),
    principals: () => principals.values(),
    thing: thingOf,
    group: (name) => groups.get(name),
    groupsOfThing: (name) => groupsOf(thingOf(name)),
    policiesOfThing: (name) => listOf(namesOfThing(thingOf(name))),
    policiesOf(principal) {
      const entry = principals.get(principal.name) ?? recordOf(principal)
      const thing = principal.thing === undefined ? undefined : thingOf(principal.thing)
      const named = (principal.groups ?? none).flatMap((name) => withAncestors(name).flatMap((group) => group.policies))
      return listOf([...(entry?.policies ?? none), ...(principal.policies ?? none), ...namesOfThing(thing), ...named])
    },
    policiesNamed: listOf,
    section: (key) => sections.get(key) ?? noEntries,
    uses: (type) => methods.has(type),
    hasDefaultAuthorizer: [...(sections.get('authorizers') ?? noEntries).values()].some(
      ({ value }) => (value as { readonly default?: boolean }).default === true,
    ),
  }

  /** A certificate without an entry in the files goes by its fingerprint. */
  function recordOf({ name, method }: Principal): CertificateRecord | undefined {
    return method === 'x509' ? records.certificate(name) : undefined
  }

  function namesOfThing(thing: Thing | undefined): readonly string[] {
    return thing === undefined ? none : [...thing.policies, ...groupsOf(thing).flatMap((group) => group.policies)]
  }

  function groupsOf(thing: Thing | undefined): readonly ThingGroup[] {
    return thing === undefined ? none : [...new Set(thing.groups.flatMap(withAncestors))]
  }

  /** Meeting a group again ends a circle of parents; a record may name a group that the files have lost. */
  function withAncestors(name: string): readonly ThingGroup[] {
    const met = new Set<ThingGroup>()
    let group = groups.get(name)
    while (group !== undefined && !met.has(group)) {
      met.add(group)
      group = group.parent === undefined ? undefined : groups.get(group.parent)
    }
    return [...met]
  }

  function alone(policy: NamedPolicy): readonly NamedPolicy[] {
    let list = single.get(policy)
    if (list === undefined) single.set(policy, (list = Object.freeze([policy])))
    return list
  }

  function missing(name: string): NamedPolicy {
    let policy = denying.get(name)
    if (policy === undefined) {
      // No document, which counts as a malformed one.
      policy = { name, document: undefined, position: { file: `(no policy "${name}")`, line: 1, column: 1 } }
      denying.set(name, policy)
    }
    return policy
  }

  function listOf(names: readonly string[]): readonly NamedPolicy[] {
    const [only] = names
    if (only === undefined) return none
    // Most have one policy: a list of each is kept by its policy, without asking for a key.
    if (names.length === 1) return alone(policyOf(only) ?? missing(only))
    const found = [...new Set(names)].map((name) => policyOf(name) ?? missing(name))
    const key = JSON.stringify(found.map(({ name }) => name))
    const known = lists.get(key)
    // A policy of the records may have been written anew under its name.
    if (known?.every((policy, index) => policy === found[index]) === true) return known
    if (lists.size > listsKept) lists.clear()
    const list = Object.freeze(found)
    lists.set(key, list)
    return list
  }
}

/** Different sets of policies; far more than anybody attaches, and not without end. */
const listsKept = 10_000

function requireAll(names: readonly string[], among: ReadonlyMap<string, unknown>, what: string): void {
  for (const name of names) if (!among.has(name)) throw new Error(`${what} "${name}", and there is none of that name`)
}
