import { z } from 'zod'
import type { Presented, Verdict } from '../core/access.ts'
import type { PrincipalEntry } from '../core/directory.ts'
import { identityOf } from './jwt/identity.ts'
import { issuerSection, type IssuerSettings } from './jwt/issuer.ts'
import { createKeySet, type KeySet, keySourceOf } from './jwt/key-set.ts'
import { type JwtShape, presentedJwt } from './jwt/shape.ts'
import { verifyJwt } from './jwt/verify.ts'
import { type AuthMethodContext, defineAuthMethod, type OpenedMethod } from './method.ts'
import type { Registry } from './registry.ts'

/** One answer for every token that is not good: which way it wasn't stands in our log. */
const refused: Verdict = { kind: 'refused', reason: 'the token is not valid here' }
const absent: Verdict = { kind: 'absent' }

/** An entry attaches policies, a thing and actsFor to one identity of an issuer: AWS's policy attached to an identity. */
const proof = z.strictObject({
  /** The issuer's name in `issuers:`. */
  issuer: z.string().min(1),
  /** The `sub` of its tokens. */
  subject: z.string().min(1).max(255),
})

type Proof = z.output<typeof proof>

/**
 * JSON Web Tokens (RFC 7519) of an OpenID Connect provider, as an HTTP bearer or an MQTT password (the user name is not looked at).
 * Nobody needs an entry: an issuer in `issuers:` says who its subjects are. What is a JWT by its shape is this method's, and one of
 * an issuer that nobody knows is refused; with no issuers at all, nothing is.
 */
export const jwt = defineAuthMethod({
  type: 'jwt',
  summary: 'A token of an OpenID Connect provider: HTTP bearer, or MQTT password.',
  proof: {
    schema: proof,
    unique: ({ issuer, subject }: Proof) => [{ text: subjectKey(issuer, subject), path: '' }],
    mentions: ({ issuer }: Proof) => [{ kind: issuerSection.key, name: issuer, path: 'issuer' }],
  },
  section: issuerSection,
  open: openJwt,
})

interface OpenedIssuer {
  readonly settings: IssuerSettings
  readonly keys: KeySet
}

function openJwt(context: AuthMethodContext): OpenedMethod {
  const { registry, log, now } = context
  if (registry.section(issuerSection.key).size === 0) return { authenticate: () => absent, renew: async () => refused }
  const issuers = issuersByIss(context)
  const entries = entriesBySubject(registry)
  const entryOf = (issuer: string, subject: string) => entries.get(subjectKey(issuer, subject))
  warnAboutLooseEntries(context)

  function authenticate(presented: Presented): Verdict | Promise<Verdict> {
    const shape = presentedJwt(presented)
    if (shape === undefined) return absent
    if (shape === 'too-long') return no('it is longer than a token may be')
    const issuer = issuers.get(shape.iss)
    return issuer === undefined ? no('its issuer is none of issuers: (iss)') : judge(shape, presented, issuer)
  }

  async function judge(shape: JwtShape, { tls }: Presented, { settings, keys }: OpenedIssuer): Promise<Verdict> {
    const at = now()
    const verified = await verifyJwt(shape, { issuer: settings, keys, certificate: tls?.certificate, now: at })
    const options = { issuer: settings, registry, entryOf, region: context.place.region, now: at }
    const identity = 'why' in verified ? verified : identityOf(verified.value, options)
    if ('value' in identity) return { kind: 'principal', principal: identity.value }
    return no(identity.why, settings.name)
  }

  /** Under the doors' own lines, which a flood can't multiply. Nothing of the token is said. */
  function no(why: string, issuer?: string): Verdict {
    log.debug({ ...(issuer !== undefined && { issuer }), why }, 'a token was refused')
    return refused
  }

  return {
    authenticate,
    /**
     * The whole token again, by the keys of now: one whose key has been withdrawn, or whose issuer, entry or thing is gone, is
     * out. The issuer being away changes nothing while its keys may still be used. Who is somebody else now comes again as such.
     */
    async renew(presented, principal) {
      const verdict = await authenticate(presented)
      return verdict.kind === 'principal' && verdict.principal.name === principal.name ? verdict : refused
    },
  }
}

/** By `iss`. An issuer that two entries describe can't be told apart, so it is neither's. */
function issuersByIss({ registry, keep, log, now }: AuthMethodContext): ReadonlyMap<string, OpenedIssuer> {
  const found = new Map<string, OpenedIssuer>()
  const shared = new Set<string>()
  for (const { value } of registry.section(issuerSection.key).values()) {
    const settings = value as IssuerSettings
    const { name, issuer } = settings
    const source = keySourceOf(settings)
    // By what the keys depend on, so that they outlive a reload that changes nothing about them.
    const key = `jwt:${JSON.stringify([source.issuer, source.jwks, source.ca])}`
    if (found.has(issuer)) shared.add(issuer)
    found.set(issuer, { settings, keys: keep(key, () => createKeySet({ source, name, log, now })) })
  }
  for (const iss of shared) found.delete(iss)
  return found
}

/** Two entries for one identity can't be told apart; a policy of either may be the one that denies. */
function entriesBySubject(registry: Registry): ReadonlyMap<string, PrincipalEntry | 'several'> {
  const found = new Map<string, PrincipalEntry | 'several'>()
  for (const entry of registry.principals()) {
    const proof = proofOf(entry)
    if (proof === undefined) continue
    const key = subjectKey(proof.issuer, proof.subject)
    found.set(key, found.has(key) ? 'several' : entry)
  }
  return found
}

function warnAboutLooseEntries({ registry, log }: AuthMethodContext): void {
  const issuers = registry.section(issuerSection.key)
  for (const entry of registry.principals()) {
    const issuer = proofOf(entry)?.issuer
    if (issuer === undefined || issuers.has(issuer)) continue
    log.warn({ principal: entry.name, issuer }, 'a principal names an issuer that does not exist; nobody can be it')
  }
}

function proofOf({ proofs }: PrincipalEntry): Proof | undefined {
  return proofs['jwt'] as Proof | undefined
}

function subjectKey(issuer: string, subject: string): string {
  return JSON.stringify([issuer, subject])
}
