import { z } from 'zod'
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

const sha256 = z
  .string()
  .regex(/^[0-9a-fA-F]{64}$/, 'must be the SHA-256 of the token: 64 hex digits')
  .transform((hex) => hex.toLowerCase())

/** Never echoes what stands there: it might be the token itself. */
const token = z.preprocess((value, context) => {
  if (typeof value !== 'string') return value
  context.addIssue({
    code: 'custom',
    message: 'must be { sha256: … }, the hash of the token; the token itself stands in no file',
  })
  return z.NEVER
}, z.strictObject({ sha256 }))

export const principalSchema = z.strictObject({
  name: principalName,
  thing: z.string().exactOptional(),
  policies: names,
  actsFor: actsFor.exactOptional(),
  trust: z.enum(['policies', 'topics']).exactOptional(),
  unknownThings: z.enum(['refuse', 'allow']).exactOptional(),
  token: token.exactOptional(),
})

/** The keys of a file in identity/; entries are checked one by one, so that one bad entry hides no other. */
export const identityFileSchema = z.strictObject({
  things: z.array(z.unknown()).default([]),
  groups: z.array(z.unknown()).default([]),
  principals: z.array(z.unknown()).default([]),
  policies: z.record(z.string(), z.unknown()).default({}),
})
