import { z } from 'zod'
import type { IdentityShape } from '../core/identity-part.ts'
import { actsFor } from './sluice-schema.ts'

/** AWS allows no dot; host names, which have them, make good thing names. */
const entityName = z
  .string()
  .regex(/^[a-zA-Z0-9:_.-]{1,128}$/, 'must have 1 to 128 letters, digits, ":", "_", "." or "-"')

/** AWS IoT CreatePolicy: policyName. */
export const policyName = z
  .string()
  .regex(/^[\w+=,.@-]{1,128}$/, 'must have 1 to 128 letters, digits or any of _ + = , . @ -')

/** Visible ASCII: it is a user name of MQTT and stands in logs. */
const principalName = z.string().regex(/^[\x21-\x7e]{1,128}$/, 'must have 1 to 128 visible ASCII characters, no spaces')

/** AWS IoT AttributePayload: at most 50, values at most 800 characters. Text, because policies compare text. */
const attributes = z
  .record(
    z.string().regex(/^[\w.,@/:#-]{1,128}$/, 'must have 1 to 128 letters, digits or any of _ . , @ / : # -'),
    z.string().max(800),
  )
  .refine((entries) => Object.keys(entries).length <= 50, 'must have at most 50 entries')

/** Names of other entries: whether they exist is looked at when all files are read. */
const names = z.array(z.string()).default([])

export const thingSchema = z.strictObject({
  name: entityName,
  type: entityName.exactOptional(),
  attributes: attributes.default({}),
  groups: names,
  policies: names,
})

export const groupSchema = z.strictObject({ name: entityName, parent: z.string().exactOptional(), policies: names })

/** A principal's entry; what each auth method keeps of it stands under that method's name. */
export function principalSchema(shapes: readonly IdentityShape[]) {
  const proofs = shapes.flatMap(({ type, proof }) =>
    proof === undefined ? [] : [[type, proof.schema.exactOptional()] as const],
  )
  return z.strictObject({
    name: principalName,
    thing: z.string().exactOptional(),
    policies: names,
    actsFor: actsFor.exactOptional(),
    trust: z.enum(['policies', 'topics']).exactOptional(),
    unknownThings: z.enum(['refuse', 'allow']).exactOptional(),
    ...Object.fromEntries(proofs),
  })
}

/** The keys of a file in identity/; entries are checked one by one, so that one bad entry hides no other. */
export function identityFileSchema(shapes: readonly IdentityShape[]) {
  const sections = shapes.flatMap(({ section }) => section?.key ?? [])
  const list = z.array(z.unknown()).default([])
  return z.strictObject({
    things: list,
    groups: list,
    principals: list,
    policies: z.record(z.string(), z.unknown()).default({}),
    ...Object.fromEntries(sections.map((key) => [key, list])),
  })
}
