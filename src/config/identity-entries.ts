import type { Directory, NamedPolicy, PrincipalEntry, Thing, ThingGroup } from '../core/directory.ts'
import type { Path } from './path.ts'
import type { YamlFile } from './yaml.ts'

/** An entry with the place it stands at, for what is checked when all files are read. */
export interface Placed<Value> {
  readonly value: Value
  readonly file: YamlFile
  readonly path: Path
}

/** Everything that the files say so far. Names whose entries have problems are kept too: they are no unknown names. */
export interface Gathered {
  readonly things: Map<string, Placed<Thing>>
  readonly groups: Map<string, Placed<ThingGroup>>
  readonly principals: Map<string, Placed<PrincipalEntry>>
  readonly policies: Map<string, Placed<NamedPolicy>>
  /** Names of entries and policy files that have problems, by kind. */
  readonly faulty: Readonly<Record<Kind, Set<string>>>
  /** A file could not be read at all, so a name that is not here may well exist. */
  incomplete: boolean
}

export type Kind = 'things' | 'groups' | 'principals' | 'policies'

/** How a sentence calls one of them. */
export const nouns: Readonly<Record<Kind, string>> = {
  things: 'thing',
  groups: 'group',
  principals: 'principal',
  policies: 'policy',
}

/** Nothing read yet. */
export function nothingGathered(): Gathered {
  return {
    things: new Map(),
    groups: new Map(),
    principals: new Map(),
    policies: new Map(),
    faulty: { things: new Set(), groups: new Set(), principals: new Set(), policies: new Set() },
    incomplete: false,
  }
}

/** The entries without their places. */
export function directoryOf(gathered: Gathered): Directory {
  const values = <Value>(map: ReadonlyMap<string, Placed<Value>>): ReadonlyMap<string, Value> =>
    new Map([...map].map(([name, placed]) => [name, placed.value]))
  return {
    things: values(gathered.things),
    groups: values(gathered.groups),
    principals: values(gathered.principals),
    policies: values(gathered.policies),
  }
}
