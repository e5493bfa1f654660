import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import type { Presented, Verdict } from '../core/access.ts'
import type { PrincipalEntry } from '../core/directory.ts'
import { type Authenticate, type AuthMethodContext, defineAuthMethod } from './method.ts'

/** Longest token that is hashed, in UTF-8 bytes: room for anybody's own scheme, and nobody makes us hash megabytes. */
export const maxTokenBytes = 4096

/** One answer for every way of being wrong: which one it was would tell a stranger who exists. */
const refused: Verdict = { kind: 'refused', reason: 'unknown principal or wrong token' }
const absent: Verdict = { kind: 'absent' }

/**
 * HTTP `Authorization: Bearer <token>`; MQTT user name = principal, password = token. The entry holds the SHA-256 of the
 * token's UTF-8 bytes: a plain hash is enough because tokens are random (`sluice identity new` makes 256 bits), so there
 * is no dictionary to try.
 */
export const token = defineAuthMethod({
  type: 'token',
  summary: 'A random token: HTTP bearer, or MQTT password beside the principal as user name.',
  proof: z.strictObject({
    sha256: z.string().regex(/^[0-9a-f]{64}$/, 'must be the SHA-256 of the token: 64 hex digits, lower case'),
  }),
  open: openToken,
})

function openToken({ registry }: AuthMethodContext): Authenticate {
  const byHash = entriesByHash(registry.principals())
  // What an unknown principal is compared with, so that it costs what a known one costs. Random: no token has this hash.
  const nobody = randomBytes(32)

  return async function authenticate(presented) {
    if (presented.bearer !== undefined) return byBearer(Buffer.from(presented.bearer, 'utf8'))
    if (presented.password !== undefined) return byName(presented)
    // A user name alone shows no token; another method may have a use for it.
    return absent
  }

  /**
   * A bearer names no principal, so it is looked up by its hash. The time that a Map needs may tell something about the
   * *hash* of what was presented; to learn a stored hash from it one would have to choose tokens by their SHA-256, and a
   * learned hash opens nothing. The comparison after it is in constant time all the same.
   */
  function byBearer(bytes: Buffer): Verdict {
    if (bytes.length > maxTokenBytes) return refused
    const hash = sha256(bytes)
    return judge(byHash.get(hash.toString('hex')), hash)
  }

  function byName({ username, password }: Presented): Verdict {
    if (password === undefined || password.length > maxTokenBytes) return refused
    return judge(username === undefined ? undefined : registry.principal(username), sha256(password))
  }

  function judge(entry: PrincipalEntry | undefined, hash: Buffer): Verdict {
    const expected = entry?.token === undefined ? nobody : Buffer.from(entry.token.sha256, 'hex')
    // A hash of another length can't come out of a checked directory; timingSafeEqual would throw on it.
    const equal = timingSafeEqual(hash, expected.length === hash.length ? expected : nobody)
    return equal && entry !== undefined ? { kind: 'principal', principal: principalOf(entry) } : refused
  }
}

function principalOf(entry: PrincipalEntry): Extract<Verdict, { kind: 'principal' }>['principal'] {
  return {
    name: entry.name,
    method: 'token',
    ...(entry.thing !== undefined && { thing: entry.thing }),
    ...(entry.actsFor !== undefined && { actsFor: entry.actsFor }),
    ...(entry.trust !== undefined && { trust: entry.trust }),
    ...(entry.unknownThings !== undefined && { unknownThings: entry.unknownThings }),
  }
}

/** Two principals with one token cannot be told apart by it, so it proves neither of them. */
function entriesByHash(entries: Iterable<PrincipalEntry>): ReadonlyMap<string, PrincipalEntry> {
  const found = new Map<string, PrincipalEntry>()
  const shared = new Set<string>()
  for (const entry of entries) {
    if (entry.token === undefined) continue
    if (found.has(entry.token.sha256)) shared.add(entry.token.sha256)
    found.set(entry.token.sha256, entry)
  }
  for (const hash of shared) found.delete(hash)
  return found
}

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest()
}
