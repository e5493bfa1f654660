import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import type { Presented, Verdict } from '../core/access.ts'
import type { PrincipalEntry } from '../core/directory.ts'
import { leavesToAuthorizer, leavesToPassword } from './by-name.ts'
import { type AuthMethodContext, defineAuthMethod, type OpenedMethod, principalFrom } from './method.ts'

/** Longest token that is hashed, in UTF-8 bytes: room for anybody's own scheme, and nobody makes us hash megabytes. */
export const maxTokenBytes = 4096

/** One answer for every way of being wrong: which one it was would tell a stranger who exists. */
const refused: Verdict = { kind: 'refused', reason: 'unknown principal or wrong token' }
const absent: Verdict = { kind: 'absent' }

const sha256Hex = z
  .string()
  .regex(/^[0-9a-fA-F]{64}$/, 'must be the SHA-256 of the token: 64 hex digits')
  .transform((hex) => hex.toLowerCase())

/** Never echoes what stands there: it might be the token itself. */
const proof = z.preprocess(
  (value, context) => {
    if (typeof value !== 'string') return value
    context.addIssue({
      code: 'custom',
      message: 'must be { sha256: … }, the hash of the token; the token itself stands in no file',
    })
    return z.NEVER
  },
  z.strictObject({ sha256: sha256Hex }),
)

type Proof = z.output<typeof proof>

/**
 * HTTP `Authorization: Bearer <token>`; MQTT user name = principal, password = token. The entry holds the SHA-256 of the
 * token's UTF-8 bytes: a plain hash is enough because tokens are random (`sluice identity new` makes 256 bits), so there
 * is no dictionary to try.
 */
export const token = defineAuthMethod({
  type: 'token',
  summary: 'A random token: HTTP bearer, or MQTT password beside the principal as user name.',
  proof: {
    schema: proof,
    unique: ({ sha256 }: Proof) => [{ text: sha256, path: '' }],
  },
  open: openToken,
})

function proofOf(entry: PrincipalEntry | undefined): Proof | undefined {
  return entry?.proofs['token'] as Proof | undefined
}

function openToken({ registry }: AuthMethodContext): OpenedMethod {
  const byHash = entriesByHash(registry.principals())
  // What an unknown principal is compared with, so that it costs what a known one costs. Random: no token has this hash.
  const nobody = randomBytes(32)

  return {
    authenticate(presented) {
      if (presented.bearer !== undefined) return byBearer(presented, Buffer.from(presented.bearer, 'utf8'))
      if (presented.password !== undefined) return byName(presented)
      // A user name alone shows no token; another method may have a use for it.
      return absent
    },
  }

  /**
   * A bearer names no principal, so it is looked up by its hash. The time that a Map needs may tell something about the
   * *hash* of what was presented; to learn a stored hash from it one would have to choose tokens by their SHA-256, and a
   * learned hash opens nothing. The comparison after it is in constant time all the same.
   */
  function byBearer(presented: Presented, bytes: Buffer): Verdict {
    if (bytes.length > maxTokenBytes) return refused
    const hash = sha256(bytes)
    const verdict = judge(byHash.get(hash.toString('hex')), hash)
    if (verdict.kind === 'principal') return verdict
    // A token of somebody else's making: a default authorizer may know it.
    return leavesToAuthorizer(registry, presented, undefined) ? absent : refused
  }

  function byName(presented: Presented): Verdict {
    const { username, password } = presented
    const entry = username === undefined ? undefined : registry.principal(username)
    const tooLong = password === undefined || password.length > maxTokenBytes
    const verdict = tooLong ? refused : judge(entry, sha256(password))
    if (verdict.kind === 'principal') return verdict
    return leavesToPassword(registry) || leavesToAuthorizer(registry, presented, username) ? absent : refused
  }

  function judge(entry: PrincipalEntry | undefined, hash: Buffer): Verdict {
    const proof = proofOf(entry)
    const expected = proof === undefined ? nobody : Buffer.from(proof.sha256, 'hex')
    // A hash of another length can't come out of a checked directory; timingSafeEqual would throw on it.
    const equal = timingSafeEqual(hash, expected.length === hash.length ? expected : nobody)
    return equal && entry !== undefined ? { kind: 'principal', principal: principalFrom(entry, 'token') } : refused
  }
}

/** Two principals with one token cannot be told apart by it, so it proves neither of them. */
function entriesByHash(entries: Iterable<PrincipalEntry>): ReadonlyMap<string, PrincipalEntry> {
  const found = new Map<string, PrincipalEntry>()
  const shared = new Set<string>()
  for (const entry of entries) {
    const proof = proofOf(entry)
    if (proof === undefined) continue
    if (found.has(proof.sha256)) shared.add(proof.sha256)
    found.set(proof.sha256, entry)
  }
  for (const hash of shared) found.delete(hash)
  return found
}

function sha256(bytes: Buffer): Buffer {
  return hash('sha256', bytes, 'buffer')
}
