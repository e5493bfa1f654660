import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import type { Presented, Verdict } from '../core/access.ts'
import type { PrincipalEntry } from '../core/directory.ts'
import { SluiceError } from '../core/errors.ts'
import { leavesToAuthorizer } from './by-name.ts'
import { type AuthMethodContext, defineAuthMethod, type OpenedMethod, principalFrom } from './method.ts'
import { PasswordChecker } from './password/checker.ts'
import { derive } from './password/derive.ts'
import { formatScrypt, newHashes, parseScrypt, type ScryptHash } from './password/phc.ts'

/** Longest password that is looked at, in bytes. */
export const maxPasswordBytes = 1024
/** NIST SP 800-63B: at least 8 characters. */
const minPasswordBytes = 8

/** One answer for every way of being wrong. */
const refused: Verdict = { kind: 'refused', reason: 'unknown principal or wrong password' }
const absent: Verdict = { kind: 'absent' }
const busy: Verdict = { kind: 'refused', reason: 'too many passwords wait to be checked', afterMs: 2000 }

/** Never echoes what stands there: it might be the password itself. */
const proof = z.strictObject(
  {
    scrypt: z.string().superRefine((text, context) => {
      const parsed = parseScrypt(text)
      if (typeof parsed === 'string') context.addIssue({ code: 'custom', message: parsed })
    }),
  },
  {
    error: ({ code }) =>
      code === 'invalid_type'
        ? 'must be { scrypt: … }, as `sluice identity password NAME` prints it; the password itself stands in no file'
        : undefined,
  },
)

type Proof = z.output<typeof proof>

/**
 * MQTT user name = principal and password; the same in `Authorization: Basic` (RFC 7617) over HTTP and for the upgrade of a
 * WebSocket. The entry holds an scrypt hash. Whether a door takes passwords without TLS is the door's matter.
 */
export const password = defineAuthMethod({
  type: 'password',
  summary: 'A password as an scrypt hash: MQTT user name and password, HTTP Basic.',
  proof: { schema: proof },
  open: openPassword,
})

/** What outlives a reload. */
interface Kept {
  readonly checker: PasswordChecker
  /** With which hash somebody was let in who is still here, so that a reload has not to check all passwords again. */
  readonly letInBy: WeakMap<Presented, string>
  /** When it was last said that too many wait. */
  saidAt: number
  close(): void
}

/** How often it is said that too many passwords wait, in milliseconds. */
const saidEveryMs = 10_000

function openPassword({ registry, keep, log, now }: AuthMethodContext): OpenedMethod {
  const kept = keep('password', newlyKept)
  const { checker, letInBy } = kept
  const hashes = hashesOf(registry.principals())
  // Costs as the entries cost, and right for no password.
  const decoys = [...hashes.values()].map(({ hash }) => ({ ...hash, hash: randomBytes(hash.hash.length) }))

  return {
    authenticate(presented) {
      const shown = shownBy(presented)
      if (shown === undefined) return absent
      if (leavesToAuthorizer(registry, presented, shown.name)) return absent
      return judge(presented, shown)
    },
    async renew(presented, principal) {
      const known = hashes.get(principal.name)
      if (known !== undefined && letInBy.get(presented) === known.text)
        return { kind: 'principal', principal: principalFrom(known.entry, 'password') }
      const shown = shownBy(presented)
      return shown === undefined || shown.name !== principal.name ? refused : judge(presented, shown)
    },
  }

  /** A name that nobody has, or has no password, costs what one of the others costs, each time the same. */
  async function judge(presented: Presented, { name, secret }: Shown): Promise<Verdict> {
    const known = name === undefined ? undefined : hashes.get(name)
    const expected = known?.hash ?? decoys[checker.pick(name ?? '', decoys.length)]
    if (expected === undefined || secret.length > maxPasswordBytes) return refused
    const right = await checker.check(name ?? '', expected, secret, now())
    if (right === undefined) return tooMany()
    if (!right || known === undefined) return refused
    letInBy.set(presented, known.text)
    return { kind: 'principal', principal: principalFrom(known.entry, 'password') }
  }

  function tooMany(): Verdict {
    if (now() - kept.saidAt >= saidEveryMs) {
      kept.saidAt = now()
      log.warn({ method: 'password', waiting: checker.busy }, 'too many passwords wait to be checked; refused for now')
    }
    return busy
  }
}

function newlyKept(): Kept {
  const checker = new PasswordChecker()
  return { checker, letInBy: new WeakMap(), saidAt: 0, close: () => checker.forget() }
}

interface Shown {
  readonly name: string | undefined
  readonly secret: Buffer
}

/** What CONNECT holds comes first: a WebSocket's upgrade was asked about before. */
function shownBy({ username, password, http }: Presented): Shown | undefined {
  if (password !== undefined) return { name: username, secret: password }
  const basic = http?.headers['authorization']
  return basic !== undefined && /^basic(?: |$)/i.test(basic) ? parseBasic(basic) : undefined
}

/** What is not Basic as RFC 7617 has it is a wrong password of nobody. A user id has no colon. */
function parseBasic(header: string): Shown {
  const nobody = { name: undefined, secret: Buffer.alloc(0) }
  const text = /^basic +(?<text>[A-Za-z0-9+/]{1,4096}={0,2})$/i.exec(header)?.groups?.['text']
  if (text === undefined) return nobody
  const bytes = Buffer.from(text, 'base64')
  const colon = bytes.indexOf(':')
  if (colon === -1) return nobody
  return { name: bytes.toString('utf8', 0, colon), secret: bytes.subarray(colon + 1) }
}

interface KnownHash {
  readonly entry: PrincipalEntry
  readonly text: string
  readonly hash: ScryptHash
}

function hashesOf(entries: Iterable<PrincipalEntry>): ReadonlyMap<string, KnownHash> {
  const hashes = new Map<string, KnownHash>()
  for (const entry of entries) {
    const text = (entry.proofs['password'] as Proof | undefined)?.scrypt
    const hash = text === undefined ? undefined : parseScrypt(text)
    // Text says what is wrong with it, which the schema has said before.
    if (text !== undefined && typeof hash === 'object') hashes.set(entry.name, { entry, text, hash })
  }
  return hashes
}

/**
 * The text that stands under `password: { scrypt: … }`, with a salt of its own. Throws SluiceError WRONG_USE for a password that is too
 * short or longer than is ever looked at.
 */
export async function hashPassword(secret: Buffer): Promise<string> {
  if (secret.length < minPasswordBytes || secret.length > maxPasswordBytes) {
    throw new SluiceError(
      'WRONG_USE',
      `a password has ${minPasswordBytes} to ${maxPasswordBytes} bytes, and this has ${secret.length}`,
    )
  }
  const { ln, r, p, saltBytes, hashBytes } = newHashes
  const salt = randomBytes(saltBytes)
  const hash = await derive(secret, { ln, r, p, salt }, hashBytes)
  return formatScrypt({ ln, r, p, salt, hash })
}
