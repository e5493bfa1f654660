import { createHash, randomBytes } from 'node:crypto'
import { z } from 'zod'
import type { Presented, Principal, Verdict } from '../core/access.ts'
import type { PrincipalEntry } from '../core/directory.ts'
import { messageOf } from '../core/errors.ts'
import type { PartComplaint } from '../core/identity-part.ts'
import { type AuthMethodContext, defineAuthMethod, type OpenedMethod, principalFrom } from './method.ts'
import { readSignature, type ShownSignature, showsSignature } from './sigv4/shown.ts'
import { emptyPayloadHash, equalTexts, openVerifier } from './sigv4/signature.ts'

/**
 * The names that AWS IoT's data plane signs for (aws-security §4): SDKs use `iotdata`, the recipe for WebSockets and the page on the
 * shadow's REST API `iotdevicegateway`. Both are good at both doors.
 */
export const signingServices: readonly string[] = ['iotdata', 'iotdevicegateway']

/** How far a signer's clock may be from ours, in milliseconds. AWS's pages on IoT give no limit; its other services allow 5 to 15 minutes. */
export const maxSkewMs = 300_000

/** A WebSocket that was opened by a signature lives at most so long, in milliseconds (aws-security §1). */
export const maxWebSocketMs = 24 * 3_600_000

/** One answer for every way of being wrong. */
const refused: Verdict = { kind: 'refused', reason: 'unknown access key or wrong signature' }
const absent: Verdict = { kind: 'absent' }
/** The store that remembers signatures is away: the same request signed anew may be good in a moment. */
const cannotTell: Verdict = { kind: 'refused', reason: 'a replay cannot be told from a new request now', afterMs: 1000 }

/** As IAM has them (API AccessKey), without the underscore that no key has. */
const accessKeyIdPattern = /^[A-Za-z0-9]{16,128}$/

/** What may be a reference is looked at when it is resolved, in `examine`. */
const credential = z.strictObject({
  accessKeyId: z.string(),
  secretAccessKey: z.string(),
  sessionToken: z.string().min(1).max(4096).exactOptional(),
  expires: z.iso
    .datetime({ offset: true, error: 'must be a time like 2026-12-31T23:59:59Z, with its zone' })
    .transform((text) => Date.parse(text))
    .exactOptional(),
})

/** One key, or two and more while they are rotated. */
const proof = z.union([credential, z.array(credential).min(1).max(8)])

type Credential = z.output<typeof credential>
type Proof = z.output<typeof proof>

/**
 * Requests and WebSocket upgrades signed with an access key as for AWS: Signature Version 4 in the Authorization header or in the
 * query. Unlike AWS it takes each signature once, and allows 5 minutes of skew.
 */
export const sigv4 = defineAuthMethod({
  type: 'sigv4',
  summary: 'AWS Signature Version 4 over HTTP and WebSockets, with an access key from identity/.',
  proof: {
    schema: proof,
    examine: (value: Proof) => placedCredentials(value).flatMap(complaintsAbout),
    unique: (value: Proof) =>
      placedCredentials(value)
        // A reference that was left open is no id.
        .filter(({ accessKeyId }) => accessKeyIdPattern.test(accessKeyId))
        .map(({ accessKeyId, at }) => ({ text: accessKeyId, path: `${at}accessKeyId` })),
  },
  open: openSigV4,
})

interface KnownKey extends Credential {
  readonly entry: PrincipalEntry
}

function openSigV4({ registry, place, once, log, now }: AuthMethodContext): OpenedMethod {
  const keys = keysOf(registry.principals())
  // What an unknown access key is checked with, so that it costs what a known one costs.
  const nobody = { accessKeyId: 'nobody', secretAccessKey: randomBytes(30).toString('base64') }
  // Loaded with the first signature: commands that only read files never need it.
  let verifier: ReturnType<typeof openVerifier> | undefined

  return {
    authenticate(presented) {
      const { http } = presented
      if (http === undefined || !showsSignature(http)) return absent
      return judge(presented, true)
    },
    async renew(presented, principal) {
      if (presented.http === undefined) return refused
      const verdict = await judge(presented, false)
      if (verdict.kind !== 'principal' || verdict.principal.name !== principal.name) return refused
      return { kind: 'principal', principal: earlier(verdict.principal, principal.until) }
    },
  }

  /**
   * `fresh`: somebody comes in, so the time counts and the signature is good once. Otherwise somebody who is in stays, if the same
   * signature would still be right by the key that there is now.
   *
   * Cheap checks come first, and the body is read for known keys only: an access key's id is no secret (it stands in URLs), but
   * nobody guesses one.
   */
  async function judge({ http, protocol }: Presented, fresh: boolean): Promise<Verdict> {
    if (http === undefined) return absent
    const shown = readSignature(http)
    if ('malformed' in shown) return no(`malformed: ${shown.malformed}`)
    const complaint = complainAboutScope(shown) ?? (fresh ? complainAboutTime(shown) : undefined)
    if (complaint !== undefined) return no(complaint)

    const known = keys.get(shown.accessKeyId)
    const unusable = known === undefined ? 'unknown access key' : complainAboutKey(known, shown)
    const body = known === undefined || unusable !== undefined || protocol !== 'http' ? undefined : http.body
    const verify = await (verifier ??= openVerifier())
    // A hash in a header is checked against the signature before the body is read, and against the body after.
    const payloadHash = shown.payloadHash ?? (body === undefined ? emptyPayloadHash : hashOf(await body()))
    const right = await verify(http, shown, unusable === undefined && known !== undefined ? known : nobody, payloadHash)
    if (known === undefined || unusable !== undefined) return no(unusable ?? 'unknown access key')
    if (!right)
      return no('another signature; check the secret, and that nothing on the way changes host, path or query')
    if (fresh && shown.payloadHash !== undefined) {
      const hash = body === undefined ? emptyPayloadHash : hashOf(await body())
      if (!equalTexts(hash, shown.payloadHash)) return no('X-Amz-Content-Sha256 is not the hash of this body')
    }
    // After everything else, so that strangers can't fill the store.
    if (fresh) {
      const first = await firstTime(shown)
      if (first === undefined) return cannotTell
      if (!first) return no('this signature was here before; sign each request anew')
    }
    return { kind: 'principal', principal: principalOf(known, protocol === 'mqtt-ws') }
  }

  function complainAboutScope({ region, service, day, at }: ShownSignature): string | undefined {
    if (region !== place.region) return `signed for another region than ${place.region} (arn.region)`
    if (!signingServices.includes(service)) return `signed for another service than ${signingServices.join(' or ')}`
    const signedOn = new Date(at).toISOString().slice(0, 10).replaceAll('-', '')
    return day === signedOn ? undefined : 'the day in the credential is not that of the date'
  }

  function complainAboutTime({ at, lifetimeMs }: ShownSignature): string | undefined {
    const time = now()
    if (at > time + maxSkewMs) return 'signed in the future; check the clocks'
    return time > at + (lifetimeMs ?? maxSkewMs) ? 'signed too long ago; check the clocks' : undefined
  }

  function complainAboutKey({ sessionToken, expires }: KnownKey, shown: ShownSignature): string | undefined {
    if (expires !== undefined && now() >= expires) return 'the access key has expired'
    // Hashes first: that way texts of any length are compared in constant time.
    const same = equalTexts(hashOf(Buffer.from(sessionToken ?? '')), hashOf(Buffer.from(shown.sessionToken ?? '')))
    return same ? undefined : 'another session token'
  }

  /** Undefined where nobody can say. The key is kept until the request would be too old anyway, and for the skew between ingests. */
  async function firstTime({ at, lifetimeMs, signature }: ShownSignature): Promise<boolean | undefined> {
    const left = at + (lifetimeMs ?? maxSkewMs) - now()
    try {
      return await once(`sigv4:${signature}`, Math.max(left, 0) + maxSkewMs)
    } catch (error) {
      log.warn({ method: 'sigv4', error: messageOf(error) }, 'the store of seen signatures cannot be asked; refused')
      return undefined
    }
  }

  function principalOf({ entry, expires }: KnownKey, connects: boolean): Principal {
    const principal: Principal = { ...principalFrom(entry, 'sigv4'), id: `${place.account}/${entry.name}` }
    return connects ? { ...principal, until: Math.min(now() + maxWebSocketMs, expires ?? Infinity) } : principal
  }

  /** For whoever looks for the cause on the server's side; the client hears nothing of it. */
  function no(because: string): Verdict {
    log.debug({ method: 'sigv4', because }, 'a signature was refused')
    return refused
  }
}

function complaintsAbout({ accessKeyId, secretAccessKey, at }: Credential & { readonly at: string }): PartComplaint[] {
  const found: PartComplaint[] = []
  if (!accessKeyIdPattern.test(accessKeyId))
    found.push({ path: `${at}accessKeyId`, message: 'an access key id has 16 to 128 letters and digits' })
  if (secretAccessKey.length < 16 || secretAccessKey.length > 256) {
    const message = 'a secret access key has 16 to 256 characters; make one with `openssl rand -base64 30`'
    found.push({ path: `${at}secretAccessKey`, message })
  }
  return found
}

/** With the path that each stands at, and a dot where there is one. */
function placedCredentials(proof: Proof): readonly (Credential & { readonly at: string })[] {
  const list = Array.isArray(proof)
  return credentialsOf(proof).map((one, index) => ({ ...one, at: list ? `${index}.` : '' }))
}

function credentialsOf(proof: Proof | undefined): readonly Credential[] {
  if (proof === undefined) return []
  return Array.isArray(proof) ? proof : [proof]
}

/** An access key that two principals have proves neither of them. */
function keysOf(entries: Iterable<PrincipalEntry>): ReadonlyMap<string, KnownKey> {
  const keys = new Map<string, KnownKey>()
  const shared = new Set<string>()
  for (const entry of entries) {
    for (const one of credentialsOf(entry.proofs['sigv4'] as Proof | undefined)) {
      if (keys.has(one.accessKeyId)) shared.add(one.accessKeyId)
      keys.set(one.accessKeyId, { ...one, entry })
    }
  }
  for (const id of shared) keys.delete(id)
  return keys
}

function earlier(principal: Principal, until: number | undefined): Principal {
  return until === undefined ? principal : { ...principal, until: Math.min(until, principal.until ?? Infinity) }
}

function hashOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
