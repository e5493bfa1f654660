import type { Directory, NamedPolicy, PrincipalEntry, Thing, ThingGroup } from '../../src/core/directory.ts'

const position = { file: 'identity/test.yaml', line: 1, column: 1 }

/** A directory out of short descriptions; what is left out is empty. */
export function directoryOf(parts: {
  readonly things?: readonly (Partial<Thing> & Pick<Thing, 'name'>)[]
  readonly groups?: readonly (Partial<ThingGroup> & Pick<ThingGroup, 'name'>)[]
  readonly principals?: readonly (Partial<PrincipalEntry> & Pick<PrincipalEntry, 'name'>)[]
  readonly policies?: readonly string[]
  /** Entries of sections, as their schemas give them. */
  readonly sections?: Readonly<Record<string, readonly { readonly name: string }[]>>
}): Directory {
  const { things = [], groups = [], principals = [], policies = [], sections = {} } = parts
  const named = policies.map((name): NamedPolicy => ({ name, document: { Statement: [] }, position }))
  return {
    things: byName(things.map((thing) => ({ attributes: {}, groups: [], policies: [], ...thing }))),
    groups: byName(groups.map((group) => ({ policies: [], ...group }))),
    principals: byName(principals.map((entry) => ({ policies: [], proofs: {}, position, ...entry }))),
    policies: byName(named),
    sections: new Map(
      Object.entries(sections).map(([key, entries]) => [
        key,
        byName(entries.map((value) => ({ name: value.name, value, position }))),
      ]),
    ),
    files: [],
  }
}

function byName<Value extends { readonly name: string }>(values: readonly Value[]): ReadonlyMap<string, Value> {
  return new Map(values.map((value) => [value.name, value]))
}
