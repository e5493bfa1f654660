import assert from 'node:assert/strict'
import { scryptSync } from 'node:crypto'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import type { Presented, Verdict } from '../../src/core/access.ts'
import { createAuthentication } from '../../src/identity/authenticate.ts'
import type { AuthMethodContext } from '../../src/identity/method.ts'
import { hashPassword, maxPasswordBytes, password } from '../../src/identity/password.ts'
import { PasswordChecker } from '../../src/identity/password/checker.ts'
import { formatScrypt, parseScrypt, type ScryptHash } from '../../src/identity/password/phc.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { token } from '../../src/identity/token.ts'
import { authMethodConformance } from '../conformance/auth-method.ts'
import { authContext } from '../support/auth-context.ts'
import { directoryOf } from '../support/directory.ts'

const right = 'correct horse battery'

/** As cheap as it may be: the tests check hundreds. */
function cheap(text: string, p = 1): string {
  const salt = Buffer.from('saltsaltsaltsalt')
  return formatScrypt({ ln: 13, r: 8, p, salt, hash: scryptSync(text, salt, 32, { N: 2 ** 13, r: 8, p }) })
}

const mqtt = (username: string, text: string): Presented => ({
  protocol: 'mqtt',
  clientId: 'c',
  username,
  password: Buffer.from(text),
})
const withAuthorization = (authorization: string, protocol: 'http' | 'mqtt-ws' = 'http'): Presented => ({
  protocol,
  http: { method: 'POST', path: '/topics/a', query: '', headers: { authorization } },
})
const basic = (username: string, text: string) =>
  withAuthorization(`Basic ${Buffer.from(`${username}:${text}`).toString('base64')}`)

const sha256 = 'd7cdb9a1b4b5a5d3a1d6d4d9c6ff6ea02a2fe0f26e0b9dfb1f1f4b6ec7cb5d21'
const principals = [
  { name: 'd-17', thing: 'd-17', proofs: { password: { scrypt: cheap(right) } } },
  { name: 'unicode', proofs: { password: { scrypt: cheap('pässwörd: with a colon') } } },
  { name: 'a:b', proofs: { password: { scrypt: cheap('of a name with a colon') } } },
  { name: 'tokened', proofs: { token: { sha256 } } },
  { name: '__proto__', proofs: { password: { scrypt: cheap('of __proto__') } } },
]
const registry = createRegistry(directoryOf({ things: [{ name: 'd-17' }], principals }))

authMethodConformance({
  method: password,
  registry,
  valid: [
    { presented: mqtt('d-17', right), principal: 'd-17' },
    { presented: basic('d-17', right), principal: 'd-17' },
    {
      presented: withAuthorization(`bAsIc  ${Buffer.from(`d-17:${right}`).toString('base64')}`, 'mqtt-ws'),
      principal: 'd-17',
    },
    { presented: mqtt('unicode', 'pässwörd: with a colon'), principal: 'unicode' },
    { presented: basic('unicode', 'pässwörd: with a colon'), principal: 'unicode' },
    { presented: mqtt('a:b', 'of a name with a colon'), principal: 'a:b' },
    { presented: mqtt('__proto__', 'of __proto__'), principal: '__proto__' },
  ],
  wrong: {
    'an unknown principal': mqtt('nobody', right),
    'a wrong password': mqtt('d-17', 'a guess of somebody'),
    "another's password": mqtt('d-17', 'of __proto__'),
    'an empty password': mqtt('d-17', ''),
    'a principal that has a token only': mqtt('tokened', right),
    'a name that every object has': mqtt('constructor', right),
    'a password without a user name': { protocol: 'mqtt', password: Buffer.from(right) },
    'a password over the length that is looked at': mqtt('d-17', 'x'.repeat(maxPasswordBytes + 1)),
    'the hash itself': mqtt('d-17', cheap(right)),
    'a wrong password in Basic': basic('d-17', 'a guess of somebody'),
    'an unknown principal in Basic': basic('nobody', right),
    'a name with a colon in Basic': basic('a:b', 'of a name with a colon'),
    'Basic without anything': withAuthorization('Basic'),
    'Basic that is not base64': withAuthorization('Basic d-17:password'),
    'Basic without a colon': withAuthorization(`Basic ${Buffer.from('d-17').toString('base64')}`),
    'Basic twice': withAuthorization(`${basic('d-17', right).http?.headers['authorization']}, Basic x`),
  },
  absent: {
    'an HTTP request without authorization': { protocol: 'http', sourceIp: '127.0.0.1' },
    'a bearer token': { ...withAuthorization('Bearer basic'), bearer: 'basic' },
    'an MQTT client with a user name alone': { protocol: 'mqtt', clientId: 'd-17', username: 'd-17' },
  },
  secrets: [
    right,
    'a guess of somebody',
    'of __proto__',
    cheap(right),
    Buffer.from(`d-17:${right}`).toString('base64'),
  ],
  proofs: {
    good: [
      { scrypt: cheap('x') },
      { scrypt: '$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E' },
      { scrypt: `$scrypt$ln=17,r=8,p=1$${'A'.repeat(22)}$${'A'.repeat(43)}` },
      { scrypt: `$scrypt$ln=13,r=8,p=10$${'A'.repeat(22)}$${'A'.repeat(43)}` },
    ],
    bad: [
      'password',
      {},
      { scrypt: 'password' },
      { scrypt: cheap('x'), sha256 },
      { scrypt: `$scrypt$ln=18,r=8,p=1$${'A'.repeat(22)}$${'A'.repeat(43)}` }, // 256 MiB
      { scrypt: `$scrypt$ln=11,r=999,p=1$${'A'.repeat(22)}$${'A'.repeat(43)}` },
      { scrypt: `$scrypt$ln=12,r=8,p=1$${'A'.repeat(22)}$${'A'.repeat(43)}` }, // 4 MiB
      { scrypt: `$scrypt$ln=17,r=8,p=2$${'A'.repeat(22)}$${'A'.repeat(43)}` },
      { scrypt: `$scrypt$ln=15,r=8,p=1$${'A'.repeat(22)}$${'A'.repeat(20)}` },
      { scrypt: `$scrypt$ln=15,r=8,p=1$AAAA$${'A'.repeat(43)}` },
      { scrypt: `$scrypt$ln=15,r=8,p=1$${'A'.repeat(21)}B$${'A'.repeat(43)}` }, // another text of the same bytes
      { scrypt: `$scrypt$ln=15,r=8,p=1$${'A'.repeat(22)}==$${'A'.repeat(43)}` },
      { scrypt: `$scrypt$r=8,ln=15,p=1$${'A'.repeat(22)}$${'A'.repeat(43)}` },
      { scrypt: `$argon2id$v=19$m=65536,t=3,p=4$${'A'.repeat(22)}$${'A'.repeat(43)}` },
    ],
  },
})

describe('password: hashes', () => {
  const verify = (text: string, secret: string) => {
    const parsed = parseScrypt(text)
    assert.ok(typeof parsed === 'object')
    return new PasswordChecker().check('p', parsed, Buffer.from(secret), 0)
  }

  it("are read as passlib writes them, and as RFC 7914's vector has them", async () => {
    const passlib = '$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E'
    assert.equal(await verify(passlib, 'password'), true)
    assert.equal(await verify(passlib, 'passwore'), false)
    const rfc: ScryptHash = {
      ln: 14,
      r: 8,
      p: 1,
      salt: Buffer.from('SodiumChloride'),
      hash: Buffer.from(
        '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887',
        'hex',
      ),
    }
    assert.equal(await verify(formatScrypt(rfc), 'pleaseletmein'), true)
  })

  it('are made with a salt of their own, and open what they were made from', async () => {
    const [one, two] = await Promise.all([hashPassword(Buffer.from(right)), hashPassword(Buffer.from(right))])
    assert.match(one, /^\$scrypt\$ln=15,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
    assert.notEqual(one, two)
    assert.equal(await verify(one, right), true)
    assert.equal(await verify(one, `${right} `), false)
    await assert.rejects(() => hashPassword(Buffer.from('short')), /8 to 1024 bytes, and this has 5/)
    await assert.rejects(() => hashPassword(Buffer.alloc(maxPasswordBytes + 1)), /and this has 1025/)
  })

  it('say what is wrong with them and quote nothing', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.stringMatching(/^\$scrypt\$ln=\d{1,2},r=\d{1,3},p=\d{1,2}\$\w{1,40}\$\w{1,50}$/)),
        (text) => {
          const parsed = parseScrypt(text)
          if (typeof parsed === 'object') {
            assert.equal(formatScrypt(parsed), text)
            assert.ok(128 * 2 ** parsed.ln * parsed.r <= 128 * 1024 * 1024)
          } else if (text.length > 8) assert.ok(!parsed.includes(text))
        },
      ),
      { numRuns: 1000 },
    )
  })
})

describe('password: which names there are', () => {
  const both = createRegistry(
    directoryOf({
      things: [{ name: 'd-17' }],
      principals: [...principals, { name: 'both', proofs: { token: { sha256 }, password: { scrypt: cheap(right) } } }],
    }),
  )
  const { authenticate } = createAuthentication([token, password], authContext(both))

  it('is told by no answer', async () => {
    const answers = await Promise.all(
      ['nobody', 'tokened', 'd-17', 'both', 'constructor'].map((name) => authenticate(mqtt(name, 'a guess'))),
    )
    for (const answer of answers)
      assert.deepEqual(answer, { kind: 'refused', reason: 'unknown principal or wrong password' })
  })

  it('is told by no other work: each costs one hash, of the cost of one of the entries', async () => {
    for (const name of ['nobody', 'tokened', 'd-17', 'both', 'constructor']) {
      const context = authContext(both)
      const opened = createAuthentication([token, password], context)
      const checker = checkerOf(context)
      const answer = opened.authenticate(mqtt(name, 'a guess'))
      await new Promise(setImmediate)
      assert.equal(checker.busy, 1, name)
      await answer
      assert.equal(checker.busy, 0, name)
    }
    // The same for a name each time, and over many names every cost that there is.
    const checker = new PasswordChecker()
    const picks = Array.from({ length: 200 }, (_, index) => checker.pick(`n${index}`, 3))
    assert.deepEqual(
      picks,
      Array.from({ length: 200 }, (_, index) => checker.pick(`n${index}`, 3)),
    )
    assert.deepEqual(new Set(picks), new Set([0, 1, 2]))
  })

  it('lets those in who have a password beside a token', async () => {
    assert.equal(methodOf(await authenticate(mqtt('both', right))), 'password')
  })

  it('leaves names that nobody has to a default authorizer, and no others', async () => {
    const tls = { authorizer: { default: 'a', allowOverride: false } }
    const seen = async (name: string) => (await authenticate({ ...mqtt(name, 'a guess'), tls })).kind
    const later: string[] = []
    const authorizer = {
      type: 'authorizer',
      summary: 'For tests.',
      open: () => ({
        async authenticate({ username }: Presented): Promise<Verdict> {
          later.push(String(username))
          return { kind: 'refused', reason: 'by the authorizer' }
        },
      }),
    } as const
    const all = createAuthentication([token, password, authorizer], authContext(both))
    for (const name of ['nobody', 'tokened', 'd-17', 'both']) {
      assert.equal((await all.authenticate({ ...mqtt(name, 'a guess'), tls })).kind, 'refused')
      assert.equal((await all.authenticate({ ...mqtt(name, 'x'.repeat(5000)), tls })).kind, 'refused')
    }
    assert.deepEqual(later, ['nobody', 'nobody'])
    assert.equal(await seen('d-17'), 'refused')
  })

  it('costs nothing where nobody has a password', async () => {
    const context = authContext(
      createRegistry(directoryOf({ principals: [{ name: 'tokened', proofs: { token: { sha256 } } }] })),
    )
    const { authenticate } = password.open(context)
    const answer = authenticate(basic('tokened', 'a guess'))
    const checker = checkerOf(context)
    assert.equal(checker.busy, 0)
    assert.equal((await answer).kind, 'refused')
  })
})

describe('password: load', () => {
  const parsed = parseScrypt(cheap(right)) as ScryptHash

  it('checks two at a time, lets a hundred wait and turns the others away', async () => {
    const context = authContext(registry)
    const lines: string[] = []
    const log = { ...context.log, warn: (_facts: object, text: string) => void lines.push(text) }
    const { authenticate } = password.open({ ...context, log })
    const checker = checkerOf(context)
    const asked = Array.from({ length: 110 }, async (_, index) => authenticate(mqtt('nobody', `guess ${index}`)))
    await new Promise(setImmediate)
    assert.equal(checker.busy, 102)
    const answers = await Promise.all(asked)
    const turnedAway = answers.filter((answer) => answer.kind === 'refused' && answer.afterMs !== undefined)
    assert.equal(turnedAway.length, 8)
    assert.deepEqual(lines, ['too many passwords wait to be checked; refused for now'])
    assert.equal(checker.busy, 0)
    assert.equal((await authenticate(mqtt('d-17', right))).kind, 'principal')
  })

  it('remembers a right password for ten minutes, and only with the hash that it was right for', async () => {
    const checker = new PasswordChecker({ maxRemembered: 2 })
    /** Whether it was right, and whether a hash was needed to say so. */
    const check = async (who: string, expected: ScryptHash, text: string, time: number) => {
      const answer = checker.check(who, expected, Buffer.from(text), time)
      const hashed = checker.busy > 0
      return [await answer, hashed]
    }
    assert.deepEqual(await check('p', parsed, right, 0), [true, true])
    assert.deepEqual(await check('p', parsed, right, 599_999), [true, false])
    assert.deepEqual(await check('p', parsed, 'wrong', 1), [false, true])
    assert.deepEqual(await check('p', parsed, 'wrong', 1), [false, true])
    assert.deepEqual(await check('q', parsed, right, 1), [true, true])
    const changed = parseScrypt(cheap('another', 2)) as ScryptHash
    assert.deepEqual(await check('p', changed, right, 1), [false, true])
    assert.deepEqual(await check('p', parsed, right, 600_000), [true, true])
    // Two are remembered, the oldest goes.
    assert.deepEqual(await check('r', parsed, right, 600_000), [true, true])
    assert.deepEqual(await check('r', parsed, right, 600_000), [true, false])
    assert.deepEqual(await check('q', parsed, right, 600_000), [true, true])
    checker.forget()
    assert.deepEqual(await check('q', parsed, right, 600_000), [true, true])
  })
})

describe('password: renewal', () => {
  it('lets a connection stay without checking its password again, and only while its hash is the same', async () => {
    const context = authContext(registry)
    const what = mqtt('d-17', right)
    const verdict = await password.open(context).authenticate(what)
    assert.ok(verdict.kind === 'principal')
    const checker = checkerOf(context)
    const renewed = async (proofs: Record<string, unknown>, presented = what) => {
      const known = createRegistry(directoryOf({ principals: [{ name: 'd-17', actsFor: ['*'], proofs }] }))
      const answer = password.open({ ...context, registry: known }).renew?.(presented, verdict.principal)
      const hashed = checker.busy > 0
      return { verdict: await answer, hashed }
    }
    assert.deepEqual(await renewed({ password: { scrypt: cheap(right) } }), {
      verdict: { kind: 'principal', principal: { name: 'd-17', method: 'password', actsFor: ['*'] } },
      hashed: false,
    })
    assert.equal((await renewed({ password: { scrypt: cheap('another one') } })).verdict?.kind, 'refused')
    assert.equal((await renewed({ token: { sha256 } })).verdict?.kind, 'refused')
    // A new hash of the same password.
    const again = await renewed({ password: { scrypt: cheap(right, 2) } })
    assert.deepEqual([again.verdict?.kind, again.hashed], ['principal', true])
    assert.equal((await renewed({ password: { scrypt: cheap(right) } }, mqtt('other', right))).verdict?.kind, 'refused')
  })
})

describe('password: fuzz', () => {
  it('lets nobody in by anything else, and never throws', async () => {
    const { authenticate } = password.open(
      authContext(createRegistry(directoryOf({ principals: principals.slice(1, 2) }))),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.string({ unit: 'binary' }), fc.constant('unicode')),
        fc.uint8Array(),
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.string({ unit: 'binary' }).map((text) => `Basic ${text}`),
        ),
        async (name, bytes, header) => {
          assert.equal(
            (await authenticate({ protocol: 'mqtt', username: name, password: Buffer.from(bytes) })).kind,
            'refused',
          )
          assert.notEqual((await authenticate(withAuthorization(header))).kind, 'principal')
        },
      ),
      { numRuns: 60 },
    )
  })
})

/** What the method keeps beyond a reload. */
function checkerOf(context: AuthMethodContext): PasswordChecker {
  interface Kept {
    readonly checker: PasswordChecker
    close?: () => void
  }
  return context.keep('password', (): Kept => assert.fail('not kept')).checker
}

function methodOf(verdict: Verdict): string | undefined {
  return verdict.kind === 'principal' ? verdict.principal.method : undefined
}
