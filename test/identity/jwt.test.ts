import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { after, describe, it } from 'node:test'
import type { Presented, Principal, Verdict } from '../../src/core/access.ts'
import { createAuthentication } from '../../src/identity/authenticate.ts'
import { issuerSchema, issuerSection } from '../../src/identity/jwt/issuer.ts'
import { maxJwtBytes } from '../../src/identity/jwt/shape.ts'
import { jwt } from '../../src/identity/jwt.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { token as tokenMethod } from '../../src/identity/token.ts'
import { authMethodConformance } from '../conformance/auth-method.ts'
import { authContext } from '../support/auth-context.ts'
import { directoryOf } from '../support/directory.ts'
import { keepLines, type Lines } from '../support/logs.ts'
import type { Scope } from '../support/cleanup.ts'
import { type Change, startOidc } from '../support/oidc.ts'

const oidc = await startOidc({ after: after as Scope['after'] }, { algorithm: 'RS256' })

const http = (bearer: string): Presented => ({ protocol: 'http', bearer })
const mqtt = (password: string, username?: string): Presented => ({
  protocol: 'mqtt',
  clientId: 'c',
  password: Buffer.from(password),
  ...(username !== undefined && { username }),
})
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as object
const seconds = () => Math.floor(Date.now() / 1000)

/** A registry with one issuer, `company`, and somebody to attach things to. */
function registryWith(more: Readonly<Record<string, unknown>> = {}) {
  const issuer = issuerSchema.parse({
    name: 'company',
    issuer: oidc.issuer,
    jwks: oidc.jwks,
    audience: ['other', 'sluice'],
    algorithms: ['RS256'],
    ...more,
  })
  return createRegistry(
    directoryOf({
      things: [{ name: 'd-1', policies: ['of-thing'] }, { name: 'd-2' }],
      groups: [{ name: 'pumps', policies: ['of-pumps'] }],
      policies: ['of-thing', 'of-pumps', 'of-issuer', 'of-entry', 'role', 'guest'],
      principals: [
        {
          name: 'operator',
          thing: 'd-2',
          actsFor: ['d-*'],
          trust: 'topics',
          policies: ['of-entry'],
          proofs: { jwt: { issuer: 'company', subject: 'op' } },
        },
        { name: 'plain', policies: ['of-entry'], proofs: { jwt: { issuer: 'company', subject: 'plain' } } },
        { name: 'company:taken' },
        { name: 'twin-a', proofs: { jwt: { issuer: 'company', subject: 'twin' } } },
        { name: 'twin-b', proofs: { jwt: { issuer: 'company', subject: 'twin' } } },
        { name: 'elsewhere', proofs: { jwt: { issuer: 'other', subject: 'alice' } } },
      ],
      sections: { issuers: [issuer] },
    }),
  )
}

function opened(more: Readonly<Record<string, unknown>> = {}, now: () => number = Date.now) {
  const log = keepLines()
  const registry = registryWith(more)
  const context = authContext(registry, { log, now })
  const { authenticate, renew } = jwt.open(context)
  assert.ok(renew !== undefined)
  return { authenticate, renew, log, registry, context }
}

function proved(verdict: Verdict): Principal {
  assert.ok(verdict.kind === 'principal', JSON.stringify(verdict))
  return verdict.principal
}

/** Why the last token was refused, as the log says. */
function whyOf({ lines }: Lines): string {
  return String(lines.findLast(({ level }) => level === 'debug')?.facts['why'])
}

async function isRefused(change: Change, more: Readonly<Record<string, unknown>> = {}, extra: Partial<Presented> = {}) {
  const { authenticate, log } = opened(more)
  const token = await oidc.token(change)
  assert.equal((await authenticate({ ...http(token), ...extra })).kind, 'refused')
  return whyOf(log)
}

const valid = await oidc.token()
const [head = '', body = '', signature = ''] = valid.split('.')
const publicKey = JSON.stringify(oidc.keys()[0])
const sign = (input: string, secret: string) => createHmac('sha256', secret).update(input).digest('base64url')
const symmetric = `${part({ alg: 'HS256', kid: 'key-1' })}.${body}`

authMethodConformance({
  method: jwt,
  registry: registryWith(),
  valid: [
    { presented: http(valid), principal: 'company:alice' },
    { presented: mqtt(valid), principal: 'company:alice' },
    { presented: mqtt(valid, 'whoever'), principal: 'company:alice' },
    { presented: { ...http(valid), protocol: 'mqtt-ws' }, principal: 'company:alice' },
    { presented: http(await oidc.token((claims) => (claims['sub'] = 'op'))), principal: 'operator' },
  ],
  wrong: {
    'a token of an unknown issuer': http(await oidc.token((claims) => (claims['iss'] = 'https://elsewhere.example'))),
    'a token whose issuer has a slash more': http(await oidc.token((claims) => (claims['iss'] = `${oidc.issuer}/`))),
    'a wrong signature': http(`${head}.${body}.${signature.slice(0, -10)}AAAAAAAAAA`),
    'no signature': http(`${head}.${body}.`),
    'other claims under a signature': http(`${head}.${part({ ...claimsOf(valid), sub: 'op' })}.${signature}`),
    'the algorithm none': http(`${part({ alg: 'none' })}.${body}.`),
    'the algorithm none with a signature': http(`${part({ alg: 'none', kid: 'key-1' })}.${body}.${signature}`),
    'HS256 with the public key as its secret': http(`${symmetric}.${sign(symmetric, publicKey)}`),
    'a token over its bound': http(`${head}.${body}${'A'.repeat(maxJwtBytes)}.${signature}`),
    'a wrong token as an MQTT password': mqtt(`${head}.${body}.`, 'company:alice'),
    'an expired token': http(await oidc.token((claims) => (claims['exp'] = seconds() - 100))),
  },
  absent: {
    'nothing at all': { protocol: 'mqtt', clientId: 'c' },
    'a user name alone': { protocol: 'mqtt', clientId: 'c', username: valid },
    'another bearer': http('some-random-token'),
    'an empty bearer': http(''),
    'a password': mqtt('correct horse'),
    'a password of bytes': { protocol: 'mqtt', password: Buffer.from([0xff, 0xfe, 0x2e, 0x80, 0x2e, 0x00]) },
    'a long password with dots': mqtt(`${'a'.repeat(maxJwtBytes)}.b.c`),
    'three parts that are no JSON': http('abc.def.ghi'),
    'claims without an issuer': http(`${head}.${part({ sub: 'alice' })}.${signature}`),
    'a header without an algorithm': http(`${part({ typ: 'JWT' })}.${body}.${signature}`),
    'a JWE of five parts': http(`${head}.${body}.${signature}.${body}.${signature}`),
    'a bearer that is none beside a password that is one': { ...http('token'), password: Buffer.from(valid) },
    'a token in the query': {
      protocol: 'http',
      http: { method: 'POST', path: '/topics/a', query: `token=${valid}`, headers: {} },
    },
  },
  secrets: [valid, signature, body],
  proofs: {
    good: [{ issuer: 'company', subject: 'op' }],
    bad: [{ issuer: 'company' }, { subject: 'op' }, 'op', { issuer: 'company', subject: '' }],
  },
})

describe('jwt: what a token must be', () => {
  it('is absent where no issuer is configured, whatever was shown', async () => {
    const { authenticate } = jwt.open(authContext(createRegistry(directoryOf({}))))
    for (const shown of [http(valid), mqtt(valid), http('x')])
      assert.deepEqual(await authenticate(shown), { kind: 'absent' })
  })

  it('takes what the token endpoint gives', async () => {
    const ask = async (form: Record<string, string>) => {
      const answer = await fetch(`${oidc.issuer}/token`, { method: 'POST', body: new URLSearchParams(form) })
      return (await answer.json()) as { access_token: string; id_token: string }
    }
    const grant = { grant_type: 'password', username: 'bob', client_id: 'sluice', scope: 'openid iot' }
    const { access_token, id_token } = await ask(grant)
    const { authenticate, log } = opened()
    assert.equal(proved(await authenticate(http(id_token))).name, 'company:johndoe')
    // Its access tokens have no audience, and those of client credentials no subject.
    assert.equal((await authenticate(http(access_token))).kind, 'refused')
    assert.match(whyOf(log), /\(aud\)/)
    const machine = await ask({ grant_type: 'client_credentials', aud: 'sluice', scope: 'iot' })
    assert.equal((await authenticate(mqtt(machine.access_token))).kind, 'refused')
    assert.match(whyOf(log), /\(sub\)/)
    const any = opened({ audience: 'any', claims: { required: { scope: 'iot' } } })
    assert.equal(proved(await any.authenticate(mqtt(access_token))).name, 'company:bob')
    assert.equal((await any.authenticate(http(id_token))).kind, 'refused')
  })

  const wrong: Readonly<Record<string, readonly [Change, RegExp]>> = {
    'another audience': [(claims) => (claims['aud'] = 'elsewhere'), /\(aud\)/],
    'no audience': [(claims) => delete claims['aud'], /\(aud\)/],
    'no expiry': [(claims) => delete claims['exp'], /\(exp\)/],
    'an expiry that is text': [(claims) => (claims['exp'] = '9999999999'), /\(exp\)/],
    'an expiry beyond all time': [(claims) => (claims['exp'] = 1e300), /no time/],
    'an expiry in the past': [(claims) => (claims['exp'] = seconds() - 31), /EXPIRED/],
    'a beginning in the future': [(claims) => (claims['nbf'] = seconds() + 60), /\(nbf\)/],
    'an issue in the future': [(claims) => (claims['iat'] = seconds() + 60), /iat is in the future/],
    'an issue that is text': [(claims) => (claims['iat'] = 'now'), /\(iat\)/],
    'no subject': [(claims) => delete claims['sub'], /\(sub\)/],
    'an empty subject': [(claims) => (claims['sub'] = ''), /sub is not/],
    'a subject that is a number': [(claims) => (claims['sub'] = 1), /sub is not/],
    'a subject over its length': [(claims) => (claims['sub'] = 'x'.repeat(256)), /sub is not/],
    'critical extensions': [(_, header) => Object.assign(header, { b64: true, crit: ['b64'] }), /critical/],
    'another type': [(_, header) => (header['typ'] = 'logout+jwt'), /typ/],
    'a type that is none': [(_, header) => (header['typ'] = 7), /typ/],
    'an unknown key': [(_, header) => (header['kid'] = 'elsewhere'), /NO_MATCHING_KEY/],
    'a key of its own': [
      (_, header) => {
        header['kid'] = 'mine'
        header['jku'] = `${oidc.issuer}/stolen`
        header['x5u'] = `${oidc.issuer}/stolen`
        header['jwk'] = oidc.keys()[0]
      },
      /NO_MATCHING_KEY/,
    ],
    'an issuer that is not configured': [(claims) => (claims['iss'] = 'https://elsewhere.example'), /\(iss\)/],
    'proof of a key of DPoP': [(claims) => (claims['cnf'] = { jkt: 'x' }), /bound to a key/],
    'a binding that is none': [(claims) => (claims['cnf'] = 'x'), /bound to a key/],
  }
  for (const [title, [change, why]] of Object.entries(wrong)) {
    it(`refuses ${title}`, async () => assert.match(await isRefused(change), why))
  }

  it('fetches nothing that a token names', () => assert.ok(!oidc.requests.includes('/stolen')))

  it('refuses an algorithm of the key that is not allowed', async () => {
    assert.match(await isRefused(() => {}, { algorithms: ['ES256', 'RS512'] }), /algorithm that is not allowed/)
  })

  it('takes access tokens, and nothing else where they are wanted', async () => {
    const access = await oidc.token((_, header) => (header['typ'] = 'application/at+JWT'))
    proved(await opened().authenticate(http(access)))
    proved(await opened({ typ: 'at+jwt' }).authenticate(http(access)))
    assert.match(await isRefused(() => {}, { typ: 'at+jwt' }), /typ/)
    assert.match(await isRefused((_, header) => (header['typ'] = undefined), { typ: 'at+jwt' }), /typ/)
    proved(await opened().authenticate(http(await oidc.token((_, header) => (header['typ'] = undefined)))))
  })

  it('takes one of several audiences, and any where that is written out', async () => {
    proved(await opened().authenticate(http(await oidc.token((claims) => (claims['aud'] = ['x', 'sluice'])))))
    proved(await opened({ audience: 'any' }).authenticate(http(await oidc.token((claims) => delete claims['aud']))))
  })

  it('forgives clocks that are apart by the leeway', async () => {
    const late = seconds()
    const token = await oidc.token((claims) => {
      claims['exp'] = late - 20
      claims['iat'] = late + 20
      claims['nbf'] = late + 20
    })
    // It would be out at once if it ended before it came.
    assert.equal(proved(await opened().authenticate(http(token))).until, (late - 20 + 30) * 1000)
    assert.equal((await opened({ leeway: '10s' }).authenticate(http(token))).kind, 'refused')
    assert.equal((await opened({ leeway: '0s' }).authenticate(http(token))).kind, 'refused')
  })

  it('refuses what is older than maxAge, and ends there', async () => {
    const iat = seconds() - 100
    const aged: Change = (claims) => (claims['iat'] = iat)
    assert.match(await isRefused(aged, { maxAge: '1m' }), /EXPIRED/)
    assert.match(await isRefused((claims) => delete claims['iat'], { maxAge: '1h' }), /\(iat\)/)
    const { until } = proved(await opened({ maxAge: '5m' }).authenticate(http(await oidc.token(aged))))
    assert.equal(until, (iat + 300) * 1000)
  })

  it('takes a token that is bound to a certificate from who has shown it', async () => {
    const certificate = Buffer.from('the DER of a certificate')
    const thumbprint = createHash('sha256').update(certificate).digest('base64url')
    const bound: Change = (claims) => (claims['cnf'] = { 'x5t#S256': thumbprint })
    assert.match(await isRefused(bound), /bound/)
    assert.match(await isRefused(bound, {}, { tls: { certificate: Buffer.from('another') } }), /bound/)
    const both: Change = (claims) => (claims['cnf'] = { 'x5t#S256': thumbprint, jkt: 'x' })
    assert.match(await isRefused(both, {}, { tls: { certificate } }), /bound/)
    proved(await opened().authenticate({ ...http(await oidc.token(bound)), tls: { certificate } }))
  })

  it('stops the methods after it, also for a token whose SHA-256 one of them knows', async () => {
    const sha256 = createHash('sha256').update(`${head}.${body}.`).digest('hex')
    const registry = createRegistry(
      directoryOf({
        principals: [{ name: 'p', proofs: { token: { sha256 } } }],
        sections: { issuers: [issuerSchema.parse({ name: 'x', issuer: 'x', jwks: oidc.jwks, audience: 'any' })] },
      }),
    )
    const { authenticate } = createAuthentication([jwt, tokenMethod], authContext(registry))
    assert.equal((await authenticate(http(`${head}.${body}.`))).kind, 'refused')
  })

  it('says in the log which claim was not as wanted, and nothing of the token', async () => {
    const { authenticate, log } = opened()
    await authenticate(http(await oidc.token((claims) => (claims['aud'] = 'the-secret-audience'))))
    assert.deepEqual(log.lines.slice(1), [
      {
        level: 'debug',
        facts: { issuer: 'company', why: 'ERR_JWT_CLAIM_VALIDATION_FAILED (aud)' },
        message: 'a token was refused',
      },
    ])
  })
})

describe('jwt: who it is', () => {
  const who = async (change: Change, more: Readonly<Record<string, unknown>> = {}) =>
    proved(await opened(more).authenticate(http(await oidc.token(change))))
  const subject =
    (sub: string): Change =>
    (claims) =>
      (claims['sub'] = sub)

  it('is the issuer and the subject, until the token ends', async () => {
    const exp = seconds() + 60
    assert.deepEqual(await who((claims) => (claims['exp'] = exp), { policies: ['of-issuer'] }), {
      name: 'company:alice',
      method: 'jwt',
      id: 'alice',
      until: exp * 1000,
      policies: ['of-issuer'],
    })
  })

  it('has a name of visible ASCII that no other subject has', async () => {
    const subjects = ['a b', 'a_b', 'Ä', 'x'.repeat(255), 'x'.repeat(254), 'a\u0000', '\u00e9', 'e\u0301']
    const found = await Promise.all(subjects.map((sub) => who(subject(sub))))
    for (const { name, id } of found) {
      assert.match(name, /^[\x21-\x7e]{1,128}$/)
      assert.match(id ?? '', /^[\x21-\x7e]{1,255}$/)
    }
    const hash = createHash('sha256').update('a b').digest('hex')
    const [first] = found
    assert.deepEqual(first && [first.name, first.id], [`company#${hash}`, `company#${hash}`])
    // Whoever may choose a subject can't choose to be called like a hash.
    const names = new Set([...found.map(({ name }) => name), (await who(subject(`#${hash}`))).name])
    assert.equal(names.size, subjects.length + 1)
  })

  it('is its entry, where one claims it, with what is attached there', async () => {
    const { until, ...rest } = await who(subject('op'), { policies: ['of-issuer'] })
    assert.equal(typeof until, 'number')
    assert.deepEqual(rest, {
      name: 'operator',
      method: 'jwt',
      id: 'op',
      thing: 'd-2',
      actsFor: ['d-*'],
      trust: 'topics',
      policies: ['of-issuer'],
    })
    const { registry, authenticate } = opened({ policies: ['of-issuer'] })
    const principal = proved(await authenticate(http(await oidc.token(subject('plain')))))
    assert.deepEqual(
      registry.policiesOf(principal).map(({ name }) => name),
      ['of-entry', 'of-issuer'],
    )
  })

  it('is not the entry of another issuer, nor of the same name by chance', async () => {
    assert.equal((await who(subject('alice'))).name, 'company:alice')
    assert.match(await isRefused(subject('taken')), /belongs to an entry that does not claim/)
    assert.match(await isRefused(subject('twin')), /several entries/)
  })

  it('says at the start which entries can be nobody', () => {
    const { log } = opened()
    assert.deepEqual(log.lines, [
      {
        level: 'warn',
        facts: { principal: 'elsewhere', issuer: 'other' },
        message: 'a principal names an issuer that does not exist; nobody can be it',
      },
    ])
  })

  it('has the thing that a claim names, which must be there', async () => {
    const more = { claims: { thing: 'device.thing_name' } }
    const named =
      (name: unknown, sub = 'alice'): Change =>
      (claims) =>
        Object.assign(claims, { sub, device: { thing_name: name } })
    assert.equal((await who(named('d-1'), more)).thing, 'd-1')
    assert.equal((await who(() => {}, more)).thing, undefined)
    assert.equal((await who(named('d-1', 'plain'), more)).thing, 'd-1')
    // The entry is the operator's own word.
    assert.equal((await who(named('d-1', 'op'), more)).thing, 'd-2')
    for (const name of ['d-9', '__proto__', '', 7, ['d-1'], null])
      assert.match(await isRefused(named(name), more), /names none that is registered/)
  })

  it('has the groups that a claim names', async () => {
    const more = { claims: { groups: 'https://example.com/groups' } }
    const inGroups =
      (groups: unknown): Change =>
      (claims) =>
        (claims['https://example.com/groups'] = groups)
    assert.deepEqual((await who(inGroups(['pumps', 'nowhere', 'pumps', '/no name/']), more)).groups, [
      'pumps',
      'nowhere',
    ])
    assert.deepEqual((await who(inGroups('pumps'), more)).groups, ['pumps'])
    assert.equal((await who(inGroups([]), more)).groups, undefined)
    assert.equal((await who(() => {}, more)).groups, undefined)
    for (const groups of [7, [7], { pumps: true }, null])
      assert.match(await isRefused(inGroups(groups), more), /no list of names/)
    const { registry, authenticate } = opened(more)
    const principal = proved(await authenticate(http(await oidc.token(inGroups(['nowhere', 'pumps'])))))
    assert.deepEqual(
      registry.policiesOf(principal).map(({ name }) => name),
      ['of-pumps'],
    )
  })

  it('needs the claims that are required', async () => {
    const required = { scope: 'iot', 'realm_access.roles': 'device', verified: true, level: 2, kind: 'a b' }
    const more = { claims: { required } }
    const right = {
      scope: 'openid iot',
      realm_access: { roles: ['x', 'device'] },
      verified: true,
      level: 2,
      kind: 'a b',
    }
    const saying =
      (over: object): Change =>
      (claims) =>
        Object.assign(claims, right, over)
    assert.equal((await who(saying({}), more)).name, 'company:alice')
    const wrong = [
      { scope: 'iotx' },
      { scope: undefined },
      { realm_access: { roles: 'x device' } },
      { realm_access: [] },
      { realm_access: null },
      { verified: 'true' },
      { level: '2' },
      { kind: 'a' },
    ]
    for (const over of wrong) assert.match(await isRefused(saying(over), more), /required claim/, JSON.stringify(over))
  })

  it('looks at own claims only', async () => {
    for (const path of ['constructor.name', '__proto__.x', 'toString', 'aud.length'])
      assert.match(await isRefused(() => {}, { claims: { required: { [path]: 'Object' } } }), /required claim/)
  })
})

describe('jwt: identity pools', () => {
  const pool = { pool: { role: ['role'] }, policies: ['of-issuer'] }
  const guests = { ...pool, unauthenticated: { role: ['guest'] } }
  const guest: Change = (claims) => (claims['amr'] = ['unauthenticated'])
  const who = async (change: Change, more: Readonly<Record<string, unknown>>) =>
    proved(await opened(more).authenticate(http(await oidc.token(change))))

  it('has a role and an identity id that is always the same', async () => {
    const first = await who(() => {}, pool)
    const { identityId = '' } = first.pool ?? {}
    // RFC 9562 §5.8: version 8, variant 10.
    assert.match(identityId, /^eu-west-1:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    assert.deepEqual(first.pool, { kind: 'authenticated', identityId, role: ['role'] })
    assert.equal(first.id, identityId)
    assert.deepEqual(first.policies, ['of-issuer'])
    assert.equal((await who(() => {}, pool)).id, identityId)
    assert.notEqual((await who((claims) => (claims['sub'] = 'bob'), pool)).id, identityId)
  })

  it('has the identity id that a claim names', async () => {
    const id = 'us-east-1:12345678-abcd-4321-8765-123456789012'
    const named = { pool: { role: ['role'], identityId: 'sub' } }
    const principal = await who((claims) => (claims['sub'] = id), named)
    assert.deepEqual([principal.name, principal.id, principal.pool?.identityId], [`company:${id}`, id, id])
    for (const sub of ['alice', '*:*', `${id}/x`, '${a}:0', `a:${'0'.repeat(60)}`])
      assert.match(await isRefused((claims) => (claims['sub'] = sub), named), /identity id/)
  })

  it('lets a guest in by its own role alone, without anything that is attached', async () => {
    const claims = { thing: 'thing', groups: 'groups' }
    const everything: Change = (given) =>
      Object.assign(given, { sub: 'op', amr: ['unauthenticated'], thing: 'd-1', groups: ['pumps'] })
    const { until, id, ...rest } = await who(everything, { ...guests, claims })
    assert.equal(typeof until, 'number')
    assert.deepEqual(rest, {
      name: 'company:op',
      method: 'jwt',
      pool: { kind: 'unauthenticated', identityId: id, role: ['guest'] },
    })
    assert.equal((await who((given) => (given['amr'] = 'unauthenticated'), guests)).pool?.kind, 'unauthenticated')
    const both: Change = (given) => (given['amr'] = ['authenticated', 'unauthenticated'])
    assert.equal((await who(both, guests)).pool?.kind, 'unauthenticated')
  })

  it('refuses a guest where none are wanted', async () => {
    for (const more of [{}, pool]) assert.match(await isRefused(guest, more), /unauthenticated/)
  })

  it('makes nobody a guest who shows nothing', async () => {
    assert.deepEqual(await opened(guests).authenticate({ protocol: 'mqtt', clientId: 'c' }), { kind: 'absent' })
    assert.deepEqual(await opened(guests).authenticate(http('unauthenticated')), { kind: 'absent' })
  })

  it('knows who is authenticated', async () => {
    const known: Change = (given) => (given['amr'] = ['authenticated', 'accounts.google.com'])
    assert.equal((await who(known, guests)).pool?.kind, 'authenticated')
    assert.equal((await who(known, { unauthenticated: { role: ['guest'] } })).pool, undefined)
  })
})

describe('jwt: renewal', () => {
  it('lets stay who still may, with what is attached now', async () => {
    const presented = http(await oidc.token((claims) => (claims['sub'] = 'op')))
    const before = opened()
    const principal = proved(await before.authenticate(presented))
    const next = opened({ policies: ['of-issuer'] })
    assert.deepEqual(proved(await next.renew(presented, principal)).policies, ['of-issuer'])
    assert.deepEqual(proved(await next.renew(presented, principal)).actsFor, ['d-*'])
  })

  it('ends with the token, the issuer and the entry', async () => {
    const exp = seconds() + 60
    const presented = http(
      await oidc.token((claims) => {
        claims['sub'] = 'op'
        claims['exp'] = exp
      }),
    )
    const principal = proved(await opened().authenticate(presented))
    const ended = async (more: Readonly<Record<string, unknown>>, now?: () => number) =>
      (await opened(more, now).renew(presented, principal)).kind
    assert.equal(await ended({}), 'principal')
    assert.equal(await ended({}, () => (exp + 31) * 1000), 'refused')
    assert.equal(await ended({ issuer: 'https://elsewhere.example' }), 'refused')
    assert.equal(await ended({ audience: ['elsewhere'] }), 'refused')
    assert.equal(await ended({ claims: { required: { scope: 'iot' } } }), 'refused')
    // Under another name the entry is not that of this identity any more.
    assert.equal(await ended({ name: 'renamed' }), 'refused')
    const nobody = authContext(createRegistry(directoryOf({})))
    assert.equal((await createAuthentication([jwt], nobody).renew(presented, principal)).kind, 'refused')
  })
})

describe('jwt: entries that cannot be told apart', () => {
  it('takes tokens of neither of two issuers with one iss', async () => {
    const entry = { issuer: oidc.issuer, jwks: oidc.jwks, audience: 'any' }
    const issuers = ['a', 'b'].map((name) => issuerSchema.parse({ name, ...entry }))
    const { authenticate } = jwt.open(authContext(createRegistry(directoryOf({ sections: { issuers } }))))
    assert.equal((await authenticate(http(valid))).kind, 'refused')
    assert.deepEqual(issuerSection.unique?.(issuers[0]), [{ text: oidc.issuer, path: 'issuer' }])
  })
})
