import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import type { HttpFacts, Verdict } from '../core/access.ts'
import type { PrincipalEntry } from '../core/directory.ts'
import { messageOf } from '../core/errors.ts'
import type { PartComplaint } from '../core/identity-part.ts'
import { type AuthMethodContext, defineAuthMethod, type OpenedMethod, principalFrom } from './method.ts'

/** Names who speaks; the other three headers are those of Standard Webhooks, which knows no sender. */
export const principalHeader = 'x-sluice-principal'

/** How far a sender's clock may be from ours, in milliseconds: what the libraries of Standard Webhooks allow. */
export const maxWebhookSkewMs = 300_000

/** One answer for every way of being wrong. */
const refused: Verdict = { kind: 'refused', reason: 'unknown principal or wrong webhook signature' }
const absent: Verdict = { kind: 'absent' }
/** The store that remembers webhooks is away: the next attempt, which is signed anew, may be good. */
const cannotTell: Verdict = { kind: 'refused', reason: 'a replay cannot be told from a new webhook now', afterMs: 1000 }

/** Signatures that are compared; a sender has two while its secret is rotated. */
const maxSignatures = 8

/** What may be a reference is looked at when it is resolved, in `examine`. */
const proof = z.strictObject({ secret: z.union([z.string(), z.array(z.string()).min(1).max(4)]) })

type Proof = z.output<typeof proof>

/**
 * Requests that are signed as Standard Webhooks has it (specification 1.0.0): an HMAC-SHA256 over id, timestamp and body. For the webhooks of a
 * broker, and for whoever can compute an HMAC and not speak TLS with a certificate.
 *
 * The path is not signed, so the body should say what it is about: `POST /messages` rather than `POST /topics/…`.
 */
export const webhook = defineAuthMethod({
  type: 'webhook',
  summary: 'HTTP requests with an HMAC over id, timestamp and body: Standard Webhooks.',
  proof: {
    schema: proof,
    examine: (value: Proof) => placedSecrets(value).flatMap(complaintsAbout),
    unique: (value: Proof) => placedSecrets(value).filter(({ text }) => keyOf(text) !== undefined),
  },
  open: openWebhook,
})

function openWebhook({ registry, once, log, now }: AuthMethodContext): OpenedMethod {
  // What an unknown principal is checked with, so that it costs what a known one costs.
  const nobody = [randomBytes(32)]

  return {
    authenticate: ({ http, protocol }) =>
      protocol === 'http' && http !== undefined && showsWebhook(http) ? judge(http) : absent,
    /** A request is over before anybody could ask. */
    renew: async () => refused,
  }

  async function judge(http: HttpFacts): Promise<Verdict> {
    const shown = readWebhook(http)
    if (shown === undefined || Math.abs(shown.at - now()) > maxWebhookSkewMs) return refused
    const entry = registry.principal(shown.principal)
    const keys = keysOf(entry)
    // An unknown principal's body is read too: names can be guessed, and what is done with them must not tell them.
    const right = isSigned(shown, (await http.body?.()) ?? Buffer.alloc(0), keys.length > 0 ? keys : nobody)
    if (!right || entry === undefined || keys.length === 0) return refused
    const first = await firstTime(shown)
    if (first === undefined) return cannotTell
    return first ? { kind: 'principal', principal: principalFrom(entry, 'webhook') } : refused
  }

  /**
   * Undefined where nobody can say. An id alone stays the same when an attempt is repeated because we answered 503; each attempt has a
   * timestamp of its own, so id and timestamp together are there twice in a replay only.
   */
  async function firstTime({ principal, id, timestamp }: Shown): Promise<boolean | undefined> {
    const key = createHash('sha256')
      .update(JSON.stringify([principal, id, timestamp]))
      .digest('hex')
    try {
      return await once(`webhook:${key}`, 2 * maxWebhookSkewMs)
    } catch (error) {
      log.warn({ method: 'webhook', error: messageOf(error) }, 'the store of seen webhooks cannot be asked; refused')
      return undefined
    }
  }
}

interface Shown {
  readonly principal: string
  readonly id: string
  readonly timestamp: string
  /** The timestamp in milliseconds since 1970. */
  readonly at: number
  /** Each the 44 characters of a hash in base64; as text, because the last has bits to spare. */
  readonly signatures: readonly Buffer[]
}

function showsWebhook({ headers }: HttpFacts): boolean {
  return headers['webhook-signature'] !== undefined || headers[principalHeader] !== undefined
}

/** Undefined for what is missing or has another form. An id with a full stop could take over a part of what follows it. */
function readWebhook({ headers }: HttpFacts): Shown | undefined {
  const principal = headers[principalHeader] ?? ''
  const id = headers['webhook-id'] ?? ''
  const timestamp = headers['webhook-timestamp'] ?? ''
  const signatures = parseSignatures(headers['webhook-signature'] ?? '')
  if (!/^[\x21-\x7e]{1,128}$/.test(principal) || !/^[\x21-\x2d\x2f-\x7e]{1,256}$/.test(id)) return undefined
  if (!/^[1-9]\d{0,11}$/.test(timestamp) || signatures.length === 0) return undefined
  return { principal, id, timestamp, at: Number(timestamp) * 1000, signatures }
}

/** The `v1` of a list like `v1,<base64> v1,<base64> v1a,<base64>`; `v1a` is Ed25519, and what else there may be is not ours. */
function parseSignatures(header: string): readonly Buffer[] {
  if (header.length > 2048) return []
  return header
    .split(' ')
    .map((part) => /^v1,(?<hash>[A-Za-z0-9+/]{43}=)$/.exec(part)?.groups?.['hash'])
    .filter((hash) => hash !== undefined)
    .slice(0, maxSignatures)
    .map((hash) => Buffer.from(hash, 'latin1'))
}

/** Compares each with each, so that the time says nothing of which. */
function isSigned({ id, timestamp, signatures }: Shown, body: Buffer, keys: readonly Buffer[]): boolean {
  let right = false
  for (const key of keys) {
    const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')
    for (const signature of signatures) right = timingSafeEqual(signature, Buffer.from(expected, 'latin1')) || right
  }
  return right
}

function keysOf(entry: PrincipalEntry | undefined): readonly Buffer[] {
  const proof = entry?.proofs['webhook'] as Proof | undefined
  if (proof === undefined) return []
  return placedSecrets(proof)
    .map(({ text }) => keyOf(text))
    .filter((key) => key !== undefined)
}

/** The bytes of `whsec_<base64>`: 24 to 64 of them. */
function keyOf(secret: string): Buffer | undefined {
  const text = /^whsec_(?<text>[A-Za-z0-9+/]{32,88}={0,2})$/.exec(secret)?.groups?.['text']
  const bytes = text === undefined ? undefined : Buffer.from(text, 'base64')
  return bytes === undefined || bytes.length < 24 || bytes.length > 64 ? undefined : bytes
}

function complaintsAbout({ text, path }: { readonly text: string; readonly path: string }): PartComplaint[] {
  const message =
    'a secret is whsec_ and the base64 of 24 to 64 random bytes; make one with `echo "whsec_$(openssl rand -base64 32)"`'
  return keyOf(text) === undefined ? [{ path, message }] : []
}

function placedSecrets({ secret }: Proof): readonly { readonly text: string; readonly path: string }[] {
  if (typeof secret === 'string') return [{ text: secret, path: 'secret' }]
  return secret.map((text, index) => ({ text, path: `secret.${index}` }))
}
