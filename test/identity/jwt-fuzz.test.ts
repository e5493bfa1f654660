import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import * as fc from 'fast-check'
import type { Presented } from '../../src/core/access.ts'
import { claimAt, hasClaim, textsOf } from '../../src/identity/jwt/claims.ts'
import { identityOf } from '../../src/identity/jwt/identity.ts'
import { issuerSchema } from '../../src/identity/jwt/issuer.ts'
import { presentedJwt } from '../../src/identity/jwt/shape.ts'
import { complainAboutKeys } from '../../src/identity/jwt/written-keys.ts'
import { jwt } from '../../src/identity/jwt.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { authContext } from '../support/auth-context.ts'
import type { Scope } from '../support/cleanup.ts'
import { directoryOf } from '../support/directory.ts'
import { keepLines } from '../support/logs.ts'
import { startOidc } from '../support/oidc.ts'

const oidc = await startOidc({ after: after as Scope['after'] })
const token = await oidc.token()
const [head = '', body = '', signature = ''] = token.split('.')
const parsed = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>
const part = (value: unknown) => Buffer.from(JSON.stringify(value) ?? '').toString('base64url')

const issuer = issuerSchema.parse({
  name: 'company',
  issuer: oidc.issuer,
  jwks: JSON.stringify({ keys: oidc.keys() }),
  audience: ['sluice'],
  claims: { thing: 'thing', groups: 'groups' },
  pool: { role: ['role'], identityId: 'id' },
  unauthenticated: { role: ['role'] },
})
const registry = createRegistry(directoryOf({ sections: { issuers: [issuer] }, things: [{ name: 't' }] }))
const easy = issuerSchema.parse({ name: 'company', issuer: oidc.issuer, jwks: issuer.jwks, audience: ['sluice'] })
const log = keepLines()
const open = (entry: typeof issuer) =>
  jwt.open(authContext(createRegistry(directoryOf({ sections: { issuers: [entry] } })), { log })).authenticate
const authenticate = open(easy)

const asBearer = (bearer: string): Presented => ({ protocol: 'http', bearer })
const asPassword = (password: string): Presented => ({ protocol: 'mqtt', password: Buffer.from(password, 'utf8') })

/** What must become of a text that is not the token: never a principal, and absent only where it is no JWT by its shape. */
async function isTurnedAway(text: string) {
  for (const presented of [asBearer(text), asPassword(text)]) {
    const { kind } = await authenticate(presented)
    assert.equal(kind, presentedJwt(presented) === undefined ? 'absent' : 'refused', text)
  }
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const nearBase64url = fc.constantFrom(...Array.from(`${alphabet}.=+/ \n\0é`))

describe('jwt: mutated tokens', () => {
  it('takes the token itself', async () => {
    assert.equal((await authenticate(asBearer(token))).kind, 'principal')
    assert.equal((await authenticate(asPassword(token))).kind, 'principal')
  })

  it('takes none with a changed character, wherever it is', async () => {
    // The last character of a part has spare bits, so every other one of the alphabet is tried at every place near an end.
    const ends = [head.length - 1, head.length + body.length, token.length - 1]
    for (const place of ends) {
      for (const character of alphabet) {
        const changed = token.slice(0, place) + character + token.slice(place + 1)
        if (changed !== token) await isTurnedAway(changed)
      }
    }
    for (let place = 0; place < token.length; place++) {
      const character = token[place] === 'A' ? 'B' : 'A'
      await isTurnedAway(token.slice(0, place) + character + token.slice(place + 1))
    }
  })

  it('takes none with anything replaced, put in or left out', async () => {
    const change = fc.record({
      at: fc.nat(token.length),
      remove: fc.nat(4),
      put: fc.array(nearBase64url, { maxLength: 4 }).map((characters) => characters.join('')),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        const changed = changes.reduce(
          (text, { at, remove, put }) => text.slice(0, at) + put + text.slice(at + remove),
          token,
        )
        if (changed !== token) await isTurnedAway(changed)
      }),
      { numRuns: 2_000 },
    )
  })

  it('takes no other header and no other claims under the signature', async () => {
    const header = fc.dictionary(
      fc.constantFrom('alg', 'kid', 'typ', 'crit', 'b64', 'jwk', 'jku', '__proto__'),
      fc.jsonValue(),
    )
    const claims = fc.dictionary(
      fc.constantFrom('sub', 'aud', 'exp', 'iss', 'nbf', 'cnf', 'amr', '__proto__'),
      fc.jsonValue(),
    )
    await fc.assert(
      fc.asyncProperty(header, claims, async (overHeader, overClaims) => {
        const changed = `${part({ ...parsed(head), ...overHeader })}.${part({ ...parsed(body), ...overClaims })}.${signature}`
        if (changed !== token) await isTurnedAway(changed)
      }),
      { numRuns: 1_000 },
    )
  })

  it('takes nothing that is made of anything else', async () => {
    const piece = fc.oneof(
      fc.string(),
      fc.jsonValue().map(part),
      fc.base64String(),
      fc.constantFrom(head, body, signature),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 5 }), async (pieces) => {
        const text = pieces.join('.')
        if (text !== token) await isTurnedAway(text)
      }),
      { numRuns: 1_000 },
    )
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        assert.notEqual((await authenticate({ protocol: 'mqtt', password: Buffer.from(bytes) })).kind, 'principal')
      }),
    )
  })

  it('has logged nothing of them', () => {
    const text = JSON.stringify(log.lines)
    assert.ok(log.lines.length > 1_000)
    for (const secret of [token, signature, body, 'alice']) assert.ok(!text.includes(secret))
  })
})

describe('jwt: claims of any shape under a good signature', () => {
  it('gives a principal within its bounds, or none', async () => {
    const all = open(issuer)
    let proved = 0
    const value = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom('t', 'eu-west-1:0a', ['g', 'h'], 'unauthenticated', ['unauthenticated'], 'sluice'),
    )
    const keys = fc.constantFrom('sub', 'thing', 'groups', 'id', 'amr', 'exp', 'iat', 'nbf', 'aud', 'cnf')
    await fc.assert(
      fc.asyncProperty(fc.dictionary(keys, value), async (over) => {
        const shown = asBearer(await oidc.token((claims) => Object.assign(claims, { id: 'a:0' }, over)))
        const verdict = await all(shown)
        if (verdict.kind !== 'principal') return assert.equal(verdict.kind, 'refused')
        proved += 1
        const { name, id, thing, pool, until, groups } = verdict.principal
        assert.match(name, /^company[:#][\x21-\x7e]{1,120}$/)
        assert.match(id ?? '', /^[\w-]+:[0-9a-f-]+$/)
        assert.ok(thing === undefined)
        assert.ok(pool !== undefined && Number.isFinite(until))
        assert.ok((groups ?? []).every((group) => /^[\w:.-]+$/.test(group)))
        const { amr } = over
        const guest =
          amr === 'unauthenticated' || (Array.isArray(amr) && amr.length === 1 && amr[0] === 'unauthenticated')
        if (guest) assert.equal(pool.kind, 'unauthenticated')
      }),
      { numRuns: 500 },
    )
    assert.ok(proved > 20, `${proved} of 500`)
  })

  it('looks things up without ever throwing', () => {
    const options = { issuer, registry, entryOf: () => undefined, region: 'r', now: 0 }
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.string(), fc.string(), (claims, path, wanted) => {
        void [claimAt(claims, path), hasClaim(claims, path, wanted), textsOf(claims[path])]
        void identityOf({ ...claims, exp: 1, sub: 's' }, options)
      }),
    )
  })

  it('reads any text as keys without throwing', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => typeof complainAboutKeys(text) === 'string'))
  })
})
