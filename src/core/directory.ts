import type { Position } from './problem.ts'

/** A registered device. */
export interface Thing {
  readonly name: string
  readonly type?: string
  readonly attributes: Readonly<Record<string, string>>
  readonly groups: readonly string[]
  /** Names of the policies attached to the thing itself. */
  readonly policies: readonly string[]
}

/** A set of things; policies are inherited from parents (aws-security §7.5). */
export interface ThingGroup {
  readonly name: string
  readonly parent?: string
  readonly policies: readonly string[]
}

/** Who may come in, by which proof, with which policies. */
export interface PrincipalEntry {
  readonly name: string
  readonly thing?: string
  readonly policies: readonly string[]
  readonly actsFor?: readonly string[]
  /** For messages on behalf of things, as on `Principal`. */
  readonly trust?: 'policies' | 'topics'
  readonly unknownThings?: 'refuse' | 'allow'
  /** What each auth method keeps of it, by the method's type; values of that method's `proof` schema. */
  readonly proofs: Readonly<Record<string, unknown>>
  readonly position: Position
}

/** An entry of a section that an auth method owns: an issuer, an authorizer, a certificate authority. */
export interface SectionEntry {
  readonly name: string
  /** A value of the section's schema, with the texts of files in the place of their paths. */
  readonly value: unknown
  readonly position: Position
}

/** An AWS IoT policy document with the file it stands in; its shape has been checked by policy/. */
export interface NamedPolicy {
  readonly name: string
  readonly document: unknown
  readonly position: Position
  /** Where each statement stands; absent for a document that stands in no file. */
  readonly statements?: readonly Position[]
}

/** Everything in identity/, checked: names are unique, references between entries lead somewhere. */
export interface Directory {
  readonly things: ReadonlyMap<string, Thing>
  readonly groups: ReadonlyMap<string, ThingGroup>
  readonly principals: ReadonlyMap<string, PrincipalEntry>
  readonly policies: ReadonlyMap<string, NamedPolicy>
  /** By the section's key, then by the entry's name. */
  readonly sections: ReadonlyMap<string, ReadonlyMap<string, SectionEntry>>
  /** Files outside of identity/ that its entries name: when one changes, identity/ has changed. */
  readonly files: readonly string[]
}
