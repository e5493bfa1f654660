import { X509Certificate } from 'node:crypto'
import { z } from 'zod'
import { fileText } from '../../core/file-text.ts'
import type { IdentitySection, Mention, PartComplaint } from '../../core/identity-part.ts'
import { messageOf } from '../../core/errors.ts'
import { duration } from '../../core/units.ts'
import { complainAboutAddress } from './address.ts'
import { complainAboutKeys } from './written-keys.ts'

/** RFC 7518 §3.1, RFC 8037 and RFC 9864, without `none` and HS*: with a public key as their secret, anybody could sign. */
const algorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const

const address = z
  .string()
  .regex(/^[a-z]+:/i, 'must be an address')
  .superRefine((text, context) => {
    const complaint = complainAboutAddress(text)
    if (complaint !== undefined) context.addIssue({ code: 'custom', message: complaint })
  })

const keysText = fileText(/^\s*\{/).refine((text) => !/^[a-z]+:\/\//i.test(text), 'must be the path of a file')

/** The name of a claim, or the dotted path to one. */
const claim = z.string().min(1).max(256)

const names = z.array(z.string()).default([])
const role = z.array(z.string()).min(1, 'must name at least one policy')

const claims = z.strictObject({
  /** Its value is the name of a thing, which must be registered. */
  thing: claim.exactOptional(),
  /** Its value is the name of a group, or a list of them. Those that don't exist count for nothing. */
  groups: claim.exactOptional(),
  /** What tokens must say, by claim: that value, or a list that holds it. In `scope` and `scp` it is a word among others. */
  required: z.record(claim, z.union([z.string(), z.number(), z.boolean()])).default({}),
})

/** An entry of `issuers:`, who may say who somebody is. */
export const issuerSchema = z.strictObject({
  /** The beginning of its identities' names. */
  name: z
    .string()
    .regex(/^[\w.-]{1,63}$/, 'must have 1 to 63 letters, digits, "_", "." or "-"')
    // `bridge:NAME` is the principal of a bridge, and what `worker:NAME` publishes is kept from that worker.
    .refine((name) => name !== 'bridge', 'must not be "bridge": bridges are principals of such names')
    .refine((name) => name !== 'worker', 'must not be "worker": workers are principals of such names'),
  /** The exact `iss` of its tokens. */
  issuer: z.string().min(1).max(1024),
  /** Where its keys are, or the keys themselves. Left out: what OpenID Connect Discovery says of `issuer`. */
  jwks: z.union([address, keysText]).exactOptional(),
  /** Trusted instead of the system's authorities where keys are fetched. */
  ca: fileText().exactOptional(),
  /** One of these must be in `aud`. No default: a token for another service must not open this one. */
  audience: z.union([
    z
      .string()
      .refine((text) => text === 'any', 'must be a list of audiences (aud) that are this Sluice, or any for whatever'),
    z.array(z.string().min(1)).min(1),
  ]),
  algorithms: z
    .array(
      z.enum(algorithms, { error: `must be one of ${algorithms.join(', ')}: only those have public keys to check by` }),
    )
    .min(1)
    .default(['RS256', 'ES256', 'EdDSA']),
  /** `at+jwt`: access tokens of RFC 9068 and no others. */
  typ: z.literal('at+jwt').exactOptional(),
  /** How far the issuer's clock and ours may be apart. */
  leeway: duration('30s').refine((ms) => ms <= 300_000, 'must be at most 5m'),
  /** How old a token may be by its `iat`, whatever its `exp` says. */
  maxAge: duration()
    .refine((ms) => ms >= 1_000, 'must be at least 1s')
    .exactOptional(),
  claims: claims.prefault({}),
  /** Policies of every identity of this issuer. */
  policies: names,
  /** Makes its identities authenticated ones of an identity pool (aws-security §6): the role and their own policies must both allow. */
  pool: z.strictObject({ role, identityId: claim.exactOptional() }).exactOptional(),
  /** Takes tokens whose `amr` says `unauthenticated`, with the role's policies alone. Left out: nobody is let in by one. */
  unauthenticated: z.strictObject({ role }).exactOptional(),
})

export type IssuerSettings = z.output<typeof issuerSchema>

/** The section `issuers:` of identity/. */
export const issuerSection: IdentitySection = {
  key: 'issuers',
  noun: 'issuer',
  schema: issuerSchema,
  examine: examineIssuer,
  mentions: ({ policies, pool, unauthenticated }: IssuerSettings): readonly Mention[] => [
    ...mentioned(policies, 'policies'),
    ...mentioned(pool?.role ?? [], 'pool.role'),
    ...mentioned(unauthenticated?.role ?? [], 'unauthenticated.role'),
  ],
  // A token names its issuer by `iss`, so two entries of one could not be told apart.
  unique: ({ issuer }: IssuerSettings) => [{ text: issuer, path: 'issuer' }],
}

/** Whether `jwks` is an address, and no keys. */
export function isAddress(jwks: string): boolean {
  return /^https?:/i.test(jwks)
}

function mentioned(policies: readonly string[], path: string): readonly Mention[] {
  return policies.map((name, index) => ({ kind: 'policies', name, path: `${path}.${index}` }))
}

function examineIssuer({ issuer, jwks, ca }: IssuerSettings): readonly PartComplaint[] {
  const complaints: PartComplaint[] = []
  const complain = (path: string, message: string | undefined) => {
    if (message !== undefined) complaints.push({ path, message })
  }
  if (jwks === undefined) complain('issuer', complainAboutDiscovery(issuer))
  else if (!isAddress(jwks)) complain('jwks', complainAboutKeys(jwks))
  const fetched = jwks === undefined ? issuer : jwks
  if (ca !== undefined && !/^https:/i.test(fetched))
    complain('ca', 'nothing is fetched over TLS, so there is no use for it')
  else if (ca !== undefined) complain('ca', complainAboutCertificate(ca))
  return complaints
}

function complainAboutDiscovery(issuer: string): string | undefined {
  const complaint = complainAboutAddress(issuer)
  if (complaint !== undefined) return `${complaint}; for an issuer that is none, write where its keys are: jwks`
  // OpenID Connect Discovery 1.0 §3: no query and no fragment.
  return URL.parse(issuer)?.search === '' ? undefined : 'must not hold a "?" where jwks is left out'
}

function complainAboutCertificate(pem: string): string | undefined {
  try {
    void new X509Certificate(pem)
    return undefined
  } catch (error) {
    return `the certificate can't be read: ${messageOf(error)}`
  }
}
