import type { Directory, NamedPolicy, PrincipalEntry, SectionEntry, Thing, ThingGroup } from '../core/directory.ts'
import type { IdentityPart } from '../core/identity-part.ts'
import type { Path } from './path.ts'
import type { YamlFile } from './yaml.ts'

/** An entry with the place it stands at, for what is checked when all files are read. */
export interface Placed<Value> {
  readonly value: Value
  readonly file: YamlFile
  readonly path: Path
}

/** A proof or an entry of a section, with what its auth method says of it. */
export interface OwnedPart extends Placed<unknown> {
  readonly part: IdentityPart
  /** The principal's or entry's name. */
  readonly name: string
  /** A file that it names was not read, so what it says can't be compared. */
  readonly unread: boolean
  /** What no two of them may share is told apart by this: the method's type, and whether it is a proof. */
  readonly kind: string
}

/** Everything that the files say so far. Names whose entries have problems are kept too: they are no unknown names. */
export interface Gathered {
  readonly things: Map<string, Placed<Thing>>
  readonly groups: Map<string, Placed<ThingGroup>>
  readonly principals: Map<string, Placed<PrincipalEntry>>
  readonly policies: Map<string, Placed<NamedPolicy>>
  /** By the section's key. */
  readonly sections: Map<string, Map<string, Placed<SectionEntry>>>
  /** What auth methods own, wherever it stands: their own checks look at it when all files are read. */
  readonly parts: OwnedPart[]
  /** Files that entries name. */
  readonly files: Set<string>
  /** Names of entries and policy files that have problems, by kind. */
  readonly faulty: Readonly<Record<Kind, Set<string>>>
  /** The same for entries of sections, whichever. */
  readonly faultyInSections: Set<string>
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

export function isKind(text: string): text is Kind {
  return Object.hasOwn(nouns, text)
}

/** Nothing read yet. */
export function nothingGathered(): Gathered {
  return {
    things: new Map(),
    groups: new Map(),
    principals: new Map(),
    policies: new Map(),
    sections: new Map(),
    parts: [],
    files: new Set(),
    faulty: { things: new Set(), groups: new Set(), principals: new Set(), policies: new Set() },
    faultyInSections: new Set(),
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
    sections: new Map([...gathered.sections].map(([key, entries]) => [key, values(entries)])),
    files: [...gathered.files].toSorted(),
  }
}
