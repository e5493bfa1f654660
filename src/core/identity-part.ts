import type { z } from 'zod'

/** Something wrong in a part of identity/; `path` is dotted and starts at the part. */
export interface PartComplaint {
  readonly path: string
  readonly message: string
}

/** The name of another entry in identity/ that a part mentions, and that has to exist. */
export interface Mention {
  /** `things`, `groups`, `policies`, or the key of a section. */
  readonly kind: string
  readonly name: string
  readonly path: string
}

/**
 * A part of identity/ that an auth method owns: the proof under a principal's entry, or an entry of a section. config/ reads
 * it by this description and knows no method.
 */
export interface IdentityPart<Schema extends z.ZodType = z.ZodType> {
  readonly schema: Schema
  /** What can be said once files behind `fileText()` are read. Never throws. */
  // oxlint-disable-next-line typescript/no-explicit-any -- the value of this part's own schema, which config/ can't name
  examine?(value: any): readonly PartComplaint[]
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  mentions?(value: any): readonly Mention[]
  /** Texts that no other part of the same kind may have too: a token's hash, an access key's id. They stand in no message. */
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  unique?(value: any): readonly { readonly text: string; readonly path: string }[]
}

/** A list of named entries in identity/ beside things, groups, principals and policies: `issuers:`, `authorizers:`. */
export interface IdentitySection extends IdentityPart {
  /** The key in the files. */
  readonly key: string
  /** How a sentence calls one entry. */
  readonly noun: string
}

/** What config/ needs to know of an auth method. */
export interface IdentityShape {
  /** The method's name, and the key under a principal's entry where its proof stands. */
  readonly type: string
  readonly summary: string
  readonly proof?: IdentityPart
  readonly section?: IdentitySection
}
