import { createHash } from 'node:crypto'
import type { CryptoKey, JWTVerifyOptions } from 'jose'
import { type Claims, hasClaim } from './claims.ts'
import type { IssuerSettings } from './issuer.ts'
import type { KeySet } from './key-set.ts'
import type { JwtShape } from './shape.ts'

/** What came of a check: a value, or why there is none, in words for our log that hold nothing of the token. */
export type Checked<Value> = { readonly value: Value } | { readonly why: string }

/** Keys that are tried for a token that names none: each costs a verification. */
const maxTries = 8

/** The last second that a Date can hold (ECMA-262, time values). */
const lastSecond = 8_640_000_000_000

export interface VerifyOptions {
  readonly issuer: IssuerSettings
  readonly keys: KeySet
  /** DER of the client's certificate, for tokens that are bound to one. */
  readonly certificate?: Buffer | undefined
  /** Milliseconds since 1970. */
  readonly now: number
}

/** Verifies a token's signature and everything about it that doesn't depend on who it is. Never throws. */
export async function verifyJwt(shape: JwtShape, options: VerifyOptions): Promise<Checked<Claims>> {
  const { issuer, now } = options
  const refused = complainAboutHeader(shape, issuer)
  if (refused !== undefined) return { why: refused }
  const verified = await checkedBySignature(shape.token, options)
  if ('why' in verified) return verified
  const why = complainAboutClaims(verified.value, options, now / 1000)
  return why === undefined ? verified : { why }
}

/** RFC 8725 §3.1 and §3.11: what a token says of itself must be what is wanted, before any key is looked for. */
function complainAboutHeader({ header, alg, canonical }: JwtShape, issuer: IssuerSettings): string | undefined {
  if (!canonical) return 'not written in canonical base64url'
  if (!issuer.algorithms.some((allowed) => allowed === alg)) return 'an algorithm that is not allowed'
  // RFC 7515 §4.1.11: extensions that must be understood. None is.
  if (Object.hasOwn(header, 'crit')) return 'it has critical extensions'
  const { typ } = header
  if (typ === undefined && issuer.typ === undefined) return undefined
  const type = typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : undefined
  const wanted = issuer.typ === undefined ? ['jwt', 'at+jwt'] : [issuer.typ]
  return type !== undefined && wanted.includes(type) ? undefined : 'its typ is another one'
}

async function checkedBySignature(token: string, { issuer, keys, now }: VerifyOptions): Promise<Checked<Claims>> {
  const { jwtVerify, errors } = await import('jose')
  const options: JWTVerifyOptions = {
    algorithms: [...issuer.algorithms],
    issuer: issuer.issuer,
    ...(typeof issuer.audience !== 'string' && { audience: [...issuer.audience] }),
    requiredClaims: ['exp', 'sub'],
    clockTolerance: issuer.leeway / 1000,
    currentDate: new Date(now),
    ...(issuer.maxAge !== undefined && { maxTokenAge: issuer.maxAge / 1000 }),
  }
  try {
    return { value: (await jwtVerify(token, keys.find, options)).payload }
  } catch (error) {
    if (error instanceof errors.JWKSMultipleMatchingKeys) return firstThatFits(error)
    return { why: reasonOf(error) }
  }

  /** No `kid`, or several keys of one. */
  async function firstThatFits(candidates: AsyncIterable<CryptoKey>): Promise<Checked<Claims>> {
    let tries = 0
    for await (const key of candidates) {
      if (++tries > maxTries) break
      try {
        return { value: (await jwtVerify(token, key, options)).payload }
      } catch (error) {
        // Anything else is about the token: it would be the same with another key.
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) return { why: reasonOf(error) }
      }
    }
    return { why: 'no key of the issuer has signed it' }
  }
}

/** jose's code, and for claims which one it was: neither comes from the token. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'it could not be verified'
  const { code, claim } = error as { readonly code?: unknown; readonly claim?: unknown }
  if (typeof code !== 'string') return error.message
  return typeof claim === 'string' ? `${code} (${claim})` : code
}

function complainAboutClaims(
  claims: Claims,
  { issuer, certificate }: VerifyOptions,
  seconds: number,
): string | undefined {
  const { exp, iat, sub } = claims
  // JSON can say 1e999.
  if (typeof exp !== 'number' || !(exp <= lastSecond)) return 'its exp is no time'
  if (iat !== undefined && iat > seconds + issuer.leeway / 1000) return 'its iat is in the future'
  // OpenID Connect Core 1.0 §2: at most 255 characters.
  if (typeof sub !== 'string' || sub === '' || sub.length > 255) return 'its sub is not a text of 1 to 255 characters'
  if (!boundTo(claims, certificate)) return 'it is bound to a key that was not shown'
  const missing = Object.entries(issuer.claims.required).find(([path, wanted]) => !hasClaim(claims, path, wanted))
  return missing === undefined ? undefined : `the required claim ${missing[0]} is not as wanted`
}

/**
 * RFC 8705 §3: a token with `cnf` is good only together with its key, and the one key that a client has proved here is that of its
 * certificate. Taken as a plain bearer token, a stolen one would work.
 */
function boundTo(claims: Claims, certificate: Buffer | undefined): boolean {
  const { cnf } = claims
  if (cnf === undefined) return true
  if (certificate === undefined || typeof cnf !== 'object' || cnf === null) return false
  const expected = Object.entries(cnf)
  const thumbprint = createHash('sha256').update(certificate).digest('base64url')
  return expected.length === 1 && expected[0]?.[0] === 'x5t#S256' && expected[0][1] === thumbprint
}
