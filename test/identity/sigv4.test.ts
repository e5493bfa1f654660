import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import { describe, it } from 'node:test'
import { SignatureV4 } from '@smithy/signature-v4'
import * as fc from 'fast-check'
import type { HttpFacts, Presented, Verdict } from '../../src/core/access.ts'
import type { AuthMethodContext } from '../../src/identity/method.ts'
import { createRegistry, type Registry } from '../../src/identity/registry.ts'
import { maxSkewMs, maxWebSocketMs, sigv4 } from '../../src/identity/sigv4.ts'
import { decodeQuery } from '../../src/identity/sigv4/query.ts'
import { Sha256 } from '../../src/identity/sigv4/sha256.ts'
import { authMethodConformance } from '../conformance/auth-method.ts'
import { authContext } from '../support/auth-context.ts'
import type { Scope } from '../support/cleanup.ts'
import { directoryOf } from '../support/directory.ts'
import { listening } from '../support/listening.ts'

const secret = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'
const otherSecret = 'another+secret/of+another+key0123456789'
const accessKeyId = 'AKIDEXAMPLE0000000001'
const token = 'FwoGEXAMPLE/token+=='
const at = Date.parse('2026-11-23T12:00:00Z')
const day = 24 * 3_600_000

const registryOf = (proof: unknown, name = 'station'): Registry =>
  createRegistry(
    directoryOf({ things: [{ name: 'th' }], principals: [{ name, thing: 'th', proofs: { sigv4: proof } }] }),
  )

const registry = createRegistry(
  directoryOf({
    things: [{ name: 'th' }],
    principals: [
      { name: 'station', thing: 'th', proofs: { sigv4: { accessKeyId, secretAccessKey: secret } } },
      {
        name: 'temporary',
        proofs: {
          sigv4: [
            {
              accessKeyId: 'ASIDEXAMPLE0000000002',
              secretAccessKey: secret,
              sessionToken: token,
              expires: at + 3_600_000,
            },
            { accessKeyId: 'ASIDEXAMPLE0000000003', secretAccessKey: secret, expires: at },
          ],
        },
      },
      { name: 'twin-a', proofs: { sigv4: { accessKeyId: 'AKIDTWIN000000000001', secretAccessKey: secret } } },
      { name: 'twin-b', proofs: { sigv4: { accessKeyId: 'AKIDTWIN000000000001', secretAccessKey: secret } } },
      { name: 'keyless' },
    ],
  }),
)

interface ToSign {
  readonly method?: string
  readonly path?: string
  readonly query?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly id?: string
  readonly secret?: string
  readonly at?: number
  readonly region?: string
  readonly service?: string
  readonly day?: string
  /** What the last line of the canonical request says; the body's hash by default. */
  readonly payload?: string
  /** The header that holds the date. */
  readonly dated?: 'x-amz-date' | 'date'
  readonly signed?: readonly string[]
  readonly canonicalPath?: string
  readonly protocol?: 'http' | 'mqtt-ws'
}

const sha256 = (data: string) => createHash('sha256').update(data).digest('hex')
const hmac = (key: string | Buffer, data: string) => createHmac('sha256', key).update(data).digest()
const amzDate = (ms: number) => new Date(ms).toISOString().replaceAll(/[-:]|\.\d{3}/g, '')

/** A signature by the steps of AWS's page on Signature Version 4, over node:crypto. The query is canonical as it stands. */
function signature(canonical: string, { time, scope, key }: { time: number; scope: string; key: string }): string {
  const text = ['AWS4-HMAC-SHA256', amzDate(time), scope, sha256(canonical)].join('\n')
  const [stamp = '', region = '', service = ''] = scope.split('/')
  return hmac(hmac(hmac(hmac(hmac(`AWS4${key}`, stamp), region), service), 'aws4_request'), text).toString('hex')
}

function signed(what: ToSign = {}): Presented {
  const { method = 'POST', path = '/topics/a', query = 'qos=1', body = '{"a":1}', region = 'eu-west-1' } = what
  const { service = 'iotdata', id = accessKeyId, at: time = at, dated = 'x-amz-date', protocol = 'http' } = what
  const date = dated === 'date' ? new Date(time).toUTCString() : amzDate(time)
  const headers: Record<string, string> = { host: 'iot.test:8443', [dated]: date, ...what.headers }
  const names = what.signed ?? Object.keys(headers).toSorted()
  const canonical = [
    method,
    what.canonicalPath ?? path,
    query,
    ...names.map((name) => `${name}:${headers[name]}`),
    '',
    names.join(';'),
    what.payload ?? sha256(body),
  ].join('\n')
  const scope = `${what.day ?? amzDate(time).slice(0, 8)}/${region}/${service}/aws4_request`
  const sign = signature(canonical, { time, scope, key: what.secret ?? secret })
  headers['authorization'] =
    `AWS4-HMAC-SHA256 Credential=${id}/${scope}, SignedHeaders=${names.join(';')}, Signature=${sign}`
  return presented({ method, path, query, headers }, body, protocol)
}

function presented(http: HttpFacts, body?: string, protocol: 'http' | 'mqtt-ws' = 'http'): Presented {
  return { protocol, http: { ...http, ...(body !== undefined && { body: async () => Buffer.from(body) }) } }
}

/** A URL for WebSockets; AWS IoT's recipe adds the session token after signing, the standard signs it too. */
function upgrade(
  what: ToSign & { readonly expires?: number; readonly token?: string; readonly tokenSigned?: boolean } = {},
): Presented {
  const { id = accessKeyId, at: time = at, region = 'eu-west-1', service = 'iotdevicegateway' } = what
  const scope = `${amzDate(time).slice(0, 8)}/${region}/${service}/aws4_request`
  const parameters: [string, string][] = [
    ['X-Amz-Algorithm', 'AWS4-HMAC-SHA256'],
    ['X-Amz-Credential', `${id}/${scope}`],
    ['X-Amz-Date', amzDate(time)],
    ...(what.expires === undefined ? [] : ([['X-Amz-Expires', String(what.expires)]] as [string, string][])),
    ...(what.tokenSigned === true ? ([['X-Amz-Security-Token', what.token ?? token]] as [string, string][]) : []),
    ['X-Amz-SignedHeaders', 'host'],
  ]
  const query = parameters.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')
  const canonical = ['GET', '/mqtt', query, 'host:iot.test', '', 'host', sha256('')].join('\n')
  const sign = signature(canonical, { time, scope, key: what.secret ?? secret })
  const added =
    what.token === undefined || what.tokenSigned === true
      ? ''
      : `&X-Amz-Security-Token=${encodeURIComponent(what.token)}`
  return presented(
    { method: 'GET', path: '/mqtt', query: `${query}&X-Amz-Signature=${sign}${added}`, headers: { host: 'iot.test' } },
    undefined,
    what.protocol ?? 'mqtt-ws',
  )
}

function change(original: Presented, parts: Partial<HttpFacts>): Presented {
  assert.ok(original.http !== undefined)
  return { ...original, http: { ...original.http, ...parts } }
}

function withHeaders(original: Presented, headers: Readonly<Record<string, string>>): Presented {
  return change(original, { headers: { ...original.http?.headers, ...headers } })
}

const open = (known: Registry = registry, more: Partial<AuthMethodContext> = {}) =>
  sigv4.open(authContext(known, { now: () => at, ...more }))

const ask = async (what: Presented, known?: Registry, more?: Partial<AuthMethodContext>): Promise<Verdict> =>
  open(known, more).authenticate(what)

const plain = signed()

authMethodConformance({
  method: sigv4,
  registry,
  context: { now: () => at, once: async () => true },
  valid: [
    { presented: signed(), principal: 'station' },
    { presented: signed({ service: 'iotdevicegateway', body: '' }), principal: 'station' },
    { presented: upgrade(), principal: 'station' },
    { presented: upgrade({ id: 'ASIDEXAMPLE0000000002', token }), principal: 'temporary' },
  ],
  wrong: {
    'an unknown access key': signed({ id: 'AKIDNOBODY0000000001' }),
    'a wrong secret': signed({ secret: otherSecret }),
    'a wrong secret in the query': upgrade({ secret: otherSecret }),
    'a changed body': presented({ ...(plain.http as HttpFacts) }, '{"a":2}'),
    'a changed path': change(plain, { path: '/topics/b' }),
    'a changed query': change(plain, { query: 'qos=0' }),
    'a changed host': withHeaders(plain, { host: 'iot.test' }),
    'an access key that two principals have': signed({ id: 'AKIDTWIN000000000001' }),
    'an expired access key': signed({ id: 'ASIDEXAMPLE0000000003' }),
    'a missing session token': signed({ id: 'ASIDEXAMPLE0000000002' }),
    'a wrong session token': upgrade({ id: 'ASIDEXAMPLE0000000002', token: 'other' }),
    'a session token where the key has none': upgrade({ token }),
    'another region': signed({ region: 'us-east-1' }),
    'another service': signed({ service: 's3' }),
    'a day that is not that of the date': signed({ day: '20261122' }),
    'a signature of 5 minutes and a second ago': signed({ at: at - maxSkewMs - 1000 }),
    'a signature from 5 minutes and a second ahead': signed({ at: at + maxSkewMs + 1000 }),
    'a URL that is over': upgrade({ at: at - 61_000, expires: 60 }),
    'a URL for longer than 7 days': upgrade({ expires: 604_801 }),
    'an unsigned payload': signed({
      headers: { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' },
      payload: 'UNSIGNED-PAYLOAD',
    }),
    "another body's hash": signed({ headers: { 'x-amz-content-sha256': sha256('other') }, payload: sha256('other') }),
    'a host that is not signed': signed({ signed: ['x-amz-date'] }),
    'a date that is not signed': signed({ signed: ['host'] }),
    'a session token that is not signed': withHeaders(signed({ id: 'ASIDEXAMPLE0000000002' }), {
      'x-amz-security-token': token,
    }),
    'signed headers out of order': signed({ signed: ['x-amz-date', 'host'] }),
    'signed headers twice': signed({ signed: ['host', 'host', 'x-amz-date'] }),
    'a signed header that is not there': signed({ signed: ['constructor', 'host', 'x-amz-date'] }),
    'an elliptic curve': withHeaders(plain, { authorization: 'AWS4-ECDSA-P256-SHA256 Credential=x' }),
    'a scheme and nothing else': withHeaders(plain, { authorization: 'AWS4-HMAC-SHA256' }),
    'a signature of capitals': withHeaders(plain, {
      authorization: (plain.http?.headers['authorization'] ?? '').replace(/[0-9a-f]{64}$/, (hex) => hex.toUpperCase()),
    }),
    'two Authorization headers': withHeaders(plain, {
      authorization: `${plain.http?.headers['authorization']}, ${plain.http?.headers['authorization']}`,
    }),
    'both forms': change(plain, { query: `qos=1&${upgrade().http?.query}` }),
    'a parameter twice': change(upgrade(), { query: `${upgrade().http?.query}&X-Amz-Date=${amzDate(at)}` }),
    'a parameter twice in other letters': change(upgrade(), { query: `${upgrade().http?.query}&x-amz-date=x` }),
    'a URL without a date': change(upgrade(), { query: upgrade().http?.query.replace(/&X-Amz-Date=\w+/, '') ?? '' }),
    'a URL with one parameter': change(upgrade(), { query: 'X-Amz-Signature=x' }),
    'an Authorization of a megabyte': withHeaders(plain, { authorization: `AWS4-HMAC-SHA256 ${'x'.repeat(1e6)}` }),
    'a query of a megabyte': change(upgrade(), { query: `X-Amz-Signature=${'x'.repeat(1e6)}` }),
    'a path of a megabyte': change(plain, { path: `/${'x'.repeat(1e6)}` }),
  },
  absent: {
    'an HTTP request without authorization': presented({ method: 'POST', path: '/topics/a', query: '', headers: {} }),
    'a bearer token': {
      ...presented({ method: 'POST', path: '/', query: '', headers: { authorization: 'Bearer x' } }),
      bearer: 'x',
    },
    'an MQTT client': { protocol: 'mqtt', clientId: 'c', username: 'station', password: Buffer.from(secret) },
    'a WebSocket for a custom authorizer': presented({
      method: 'GET',
      path: '/mqtt',
      query: 'x-amz-customauthorizer-name=a&x-amz-customauthorizer-signature=b',
      headers: { host: 'h' },
    }),
  },
  secrets: [secret, otherSecret, token, 'wJalrXUtnFEMI'],
  proofs: {
    good: [
      { accessKeyId, secretAccessKey: secret },
      { accessKeyId, secretAccessKey: secret, sessionToken: token, expires: '2026-12-31T23:59:59+01:00' },
      [
        { accessKeyId, secretAccessKey: secret },
        { accessKeyId: 'AKIDEXAMPLE0000000009', secretAccessKey: secret },
      ],
    ],
    bad: [
      { accessKeyId },
      { accessKeyId, secretAccessKey: secret, expires: 'tomorrow' },
      { accessKeyId, secretAccessKey: secret, expires: '2026-12-31' },
      { accessKeyId, secretAccessKey: secret, region: 'eu-west-1' },
      [],
    ],
  },
})

describe('sigv4: the vectors of aws-security §4', () => {
  const time = Date.parse('2015-08-30T12:36:00Z')
  const host = 'a1b2c3example-ats.iot.us-east-1.amazonaws.com'
  const vectors = registryOf({ accessKeyId: 'AKIDEXAMPLE', secretAccessKey: secret })
  const withToken = registryOf({ accessKeyId: 'AKIDEXAMPLE', secretAccessKey: secret, sessionToken: token })
  const context = { now: () => time, place: { region: 'us-east-1', account: '123456789012' } }
  const publish = (service: string, sign: string): Presented =>
    presented(
      {
        method: 'POST',
        path: '/topics/device%2Fmessage',
        query: 'qos=1',
        headers: {
          host,
          'x-amz-date': '20150830T123600Z',
          authorization: `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/${service}/aws4_request, SignedHeaders=host;x-amz-date, Signature=${sign}`,
        },
      },
      '{"hello":"world"}',
    )
  const url =
    'X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fiotdevicegateway%2Faws4_request' +
    '&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Signature=7a3e67ba146b825873ab8910e8ab027beb081de4185e8fa398e04fb6eb2cf9df'
  const webSocket = (query: string) =>
    presented({ method: 'GET', path: '/mqtt', query, headers: { host } }, undefined, 'mqtt-ws')

  const cases: Readonly<Record<string, readonly [Registry, Presented]>> = {
    'a publish for iotdata (botocore)': [
      vectors,
      publish('iotdata', '89a75d44a04959c8dfd3cd1a16cbb8abb364e9551e83d046bcf9734a2956c1d5'),
    ],
    'a publish for iotdevicegateway (botocore)': [
      vectors,
      publish('iotdevicegateway', 'fd8afa7eda03b9642cec1eead06c5c6f06a8d34e1929cca2372bc40f92cc44f7'),
    ],
    'a WebSocket': [vectors, webSocket(url)],
    'a WebSocket with a session token added after signing': [
      withToken,
      webSocket(`${url}&X-Amz-Security-Token=FwoGEXAMPLE%2Ftoken%2B%3D%3D`),
    ],
  }
  for (const [title, [known, what]] of Object.entries(cases)) {
    it(`takes ${title}`, async () => {
      const verdict = await ask(what, known, context)
      assert.equal(verdict.kind === 'principal' && verdict.principal.id, '123456789012/station')
    })
  }
  it('takes none of the first for the other service', async () => {
    const wrong = publish('iotdevicegateway', '89a75d44a04959c8dfd3cd1a16cbb8abb364e9551e83d046bcf9734a2956c1d5')
    assert.equal((await ask(wrong, vectors, context)).kind, 'refused')
  })
})

describe('sigv4', () => {
  it('ends a WebSocket after a day, or with its key', async () => {
    const day = await ask(upgrade())
    assert.equal(day.kind === 'principal' && day.principal.until, at + maxWebSocketMs)
    const hour = await ask(upgrade({ id: 'ASIDEXAMPLE0000000002', token }))
    assert.equal(hour.kind === 'principal' && hour.principal.until, at + 3_600_000)
    const http = await ask(signed())
    assert.deepEqual(http, {
      kind: 'principal',
      principal: { name: 'station', method: 'sigv4', thing: 'th', id: '123456789012/station' },
    })
  })

  it('takes a session token that is signed, in the query and in a header', async () => {
    const query = upgrade({ id: 'ASIDEXAMPLE0000000002', token, tokenSigned: true })
    assert.equal((await ask(query)).kind, 'principal')
    const header = signed({ id: 'ASIDEXAMPLE0000000002', headers: { 'x-amz-security-token': token } })
    assert.equal((await ask(header)).kind, 'principal')
  })

  it('takes the Date header where there is no X-Amz-Date', async () => {
    assert.equal((await ask(signed({ dated: 'date' }))).kind, 'principal')
  })

  it('takes both forms of the path, and none that two topics could have', async () => {
    const take = async (path: string, canonicalPath: string) => (await ask(signed({ path, canonicalPath }))).kind
    assert.equal(await take('/topics/a%2Fb', '/topics/a%2Fb'), 'principal')
    assert.equal(await take('/topics/a%2Fb', '/topics/a%252Fb'), 'principal')
    assert.equal(await take('/topics/$aws/x', '/topics/%24aws/x'), 'principal')
    assert.equal(await take('/topics/a//b', '/topics/a//b'), 'principal')
    // Escaped, this would be good for `a/b` too.
    assert.equal(await take('/topics/a//b', '/topics/a/b'), 'refused')
    assert.equal(await take('/topics/a/./b', '/topics/a/b'), 'refused')
    assert.equal(await take('/topics/x/../a', '/topics/a'), 'refused')
    // As it is, this would be good for `a%2Fb` escaped too.
    assert.equal(await take('/topics/a%252Fb', '/topics/a%252Fb'), 'refused')
    assert.equal(await take('/topics/a%252Fb', '/topics/a%25252Fb'), 'principal')
    // Decoded, as nobody signs it.
    assert.equal(await take('/topics/a%2Fb', '/topics/a/b'), 'refused')
  })

  it('honours X-Amz-Expires beyond the skew, and not before its time', async () => {
    assert.equal((await ask(upgrade({ at: at - 3_600_000, expires: 3601 }))).kind, 'principal')
    assert.equal((await ask(upgrade({ at: at - 3_600_000 }))).kind, 'refused')
    assert.equal((await ask(upgrade({ at: at + maxSkewMs + 1000, expires: 604_800 }))).kind, 'refused')
    assert.equal((await ask(upgrade({ at: at - 6 * day, expires: 604_800 }))).kind, 'principal')
  })

  it('takes a presigned publish', async () => {
    assert.equal((await ask(upgrade({ protocol: 'http' }))).kind, 'principal')
  })

  it('takes a signature once, and remembers it for as long as it would be good', async () => {
    const asked: [string, number][] = []
    const seen = new Set<string>()
    const once = async (key: string, ms: number) => {
      asked.push([key, ms])
      return !seen.has(key) && seen.add(key) !== undefined
    }
    const { authenticate } = open(registry, { once })
    assert.equal((await authenticate(signed({ at: at - 60_000 }))).kind, 'principal')
    assert.deepEqual(await authenticate(signed({ at: at - 60_000 })), {
      kind: 'refused',
      reason: 'unknown access key or wrong signature',
    })
    assert.equal((await authenticate(signed({ at: at + maxSkewMs }))).kind, 'principal')
    assert.equal((await authenticate(upgrade({ expires: 3600 }))).kind, 'principal')
    assert.deepEqual(
      asked.map(([, ms]) => ms),
      [2 * maxSkewMs - 60_000, 2 * maxSkewMs - 60_000, 3 * maxSkewMs, 3_600_000 + maxSkewMs],
    )
    for (const [key] of asked) assert.match(key, /^sigv4:[0-9a-f]{64}$/)
  })

  it('remembers no signature that is wrong', async () => {
    const once = () => assert.fail('asked for a wrong signature')
    for (const wrong of [
      signed({ secret: otherSecret }),
      upgrade({ secret: otherSecret }),
      change(plain, { path: '/x' }),
    ])
      assert.equal((await ask(wrong, registry, { once })).kind, 'refused')
  })

  it('refuses while the store is away, and says that it may be asked again', async () => {
    const verdict = await ask(signed(), registry, { once: () => Promise.reject(new Error('away')) })
    assert.equal(verdict.kind === 'refused' && verdict.afterMs, 1000)
  })

  it('reads the body for known access keys only, and last', async () => {
    let reads = 0
    const counted = (what: Presented) =>
      change(what, { body: async () => Buffer.from((reads += 1) > 0 ? '{"a":1}' : '') })
    const hashed = { headers: { 'x-amz-content-sha256': sha256('{"a":1}') } }
    for (const what of [
      signed({ id: 'AKIDNOBODY0000000001' }),
      signed({ at: at - day }),
      signed({ region: 'us-east-1' }),
      signed({ id: 'ASIDEXAMPLE0000000003' }),
      signed({ secret: otherSecret, ...hashed }),
      withHeaders(plain, { authorization: 'AWS4-HMAC-SHA256 x' }),
    ])
      assert.equal((await ask(counted(what))).kind, 'refused')
    assert.equal(reads, 0)
    assert.equal((await ask(counted(signed()))).kind, 'principal')
    assert.equal((await ask(counted(signed(hashed)))).kind, 'principal')
    assert.equal(reads, 2)
  })

  it('lets the rejection of a body through', async () => {
    const cut = new Error('cut off')
    await assert.rejects(() => ask(change(plain, { body: () => Promise.reject(cut) })), cut)
  })

  it('lets those who are in stay while their key is there, and does not count that as a replay', async () => {
    const { authenticate } = open()
    const what = upgrade()
    const verdict = await authenticate(what)
    assert.ok(verdict.kind === 'principal')
    const later = (known: Registry, time = at + 3_600_000) =>
      open(known, { now: () => time, once: () => assert.fail('consumed') }).renew?.(what, verdict.principal)

    assert.deepEqual(await later(registry), verdict)
    assert.equal((await later(registryOf([{ accessKeyId, secretAccessKey: secret }])))?.kind, 'principal')
    assert.equal((await later(registryOf({ accessKeyId, secretAccessKey: otherSecret })))?.kind, 'refused')
    assert.equal((await later(registryOf({ accessKeyId, secretAccessKey: secret }, 'other')))?.kind, 'refused')
    assert.equal((await later(registryOf([])))?.kind, 'refused')
    const ends = registryOf({ accessKeyId, secretAccessKey: secret, expires: at + 2 * 3_600_000 })
    const shorter = await later(ends)
    assert.equal(shorter?.kind === 'principal' && shorter.principal.until, at + 2 * 3_600_000)
    assert.equal((await later(ends, at + 2 * 3_600_000))?.kind, 'refused')
  })

  it('says in the debug log why, and to nobody else', async () => {
    const lines: unknown[] = []
    const log = { debug: (facts: object) => void lines.push(facts), info() {}, warn() {}, error() {}, with: () => log }
    await ask(signed({ at: at - day }), registry, { log })
    assert.deepEqual(lines, [{ method: 'sigv4', because: 'signed too long ago; check the clocks' }])
  })

  it('names the place of an access key that must be unique', () => {
    const one = { accessKeyId, secretAccessKey: secret }
    assert.deepEqual(sigv4.proof.unique(one), [{ text: accessKeyId, path: 'accessKeyId' }])
    assert.deepEqual(sigv4.proof.unique([one]), [{ text: accessKeyId, path: '0.accessKeyId' }])
    assert.deepEqual(sigv4.proof.unique({ ...one, accessKeyId: '${env:KEY}' }), [])
  })

  it('wants access keys of the right size, wherever they come from', () => {
    const { examine } = sigv4.proof
    assert.deepEqual(examine({ accessKeyId, secretAccessKey: secret }), [])
    assert.deepEqual(
      examine([
        { accessKeyId, secretAccessKey: secret },
        { accessKeyId: 'AKID/EXAMPLE/00000000', secretAccessKey: 'short' },
      ]).map(({ path }) => path),
      ['1.accessKeyId', '1.secretAccessKey'],
    )
    assert.deepEqual(
      examine({ accessKeyId: 'AKID', secretAccessKey: secret }).map(({ path }) => path),
      ['accessKeyId'],
    )
  })
})

describe('sigv4: queries with two readings', () => {
  const twofold = [
    'a=1&a=2',
    'a=1&A=2',
    'a+b=1',
    'a=b+c',
    'a=%zz',
    'a=%ff',
    '__proto__=1',
    'a=1&&b=2',
    'ä=1',
    'a%20b=1',
    '%00=1',
  ]
  for (const query of twofold) {
    it(`refuses ${query}`, async () => {
      assert.equal(decodeQuery(query), undefined)
      assert.equal((await ask(signed({ query }))).kind, 'refused')
    })
  }
  it('reads the others', () => {
    assert.deepEqual(
      [...(decodeQuery('a=1&b&c=%2B%20=') ?? [])],
      [
        ['a', '1'],
        ['b', ''],
        ['c', '+ ='],
      ],
    )
    assert.equal(decodeQuery(Array.from({ length: 65 }, (_, index) => `p${index}=`).join('&')), undefined)
  })
})

describe('sigv4: real clients', () => {
  it('takes what curl signs', async (t) => {
    const { url, verdicts } = await listen(t)
    const sign = (key: string, where = 'eu-west-1:iotdata') => ['--user', key, '--aws-sigv4', `aws:amz:${where}`]
    const right = sign(`${accessKeyId}:${secret}`)
    const takes: Readonly<Record<string, readonly string[]>> = {
      'a publish': ['-d', '{"a":1}', '-H', 'content-type: application/json', `${url}/topics/a/b?qos=1`],
      'an escaped slash': ['-d', 'x', `${url}/topics/a%2Fb`],
      'a double slash': ['-d', 'x', '--path-as-is', `${url}/topics/a//b`],
      'a dollar': ['-d', 'x', `${url}/topics/$aws/x`],
      'an escaped dollar': ['-d', 'x', `${url}/topics/%24aws/x`],
      'a blank': ['-d', 'x', `${url}/topics/a%20b`],
      'two parameters in order': ['-d', 'x', `${url}/topics/a?contentType=x&qos=1`],
      'a parameter that is escaped': ['-d', 'x', `${url}/topics/a?contentType=application%2Fjson&qos=1`],
      'a binary body': [
        '--data-binary',
        '@/bin/true',
        '-H',
        'content-type: application/octet-stream',
        `${url}/topics/a`,
      ],
      'a GET': [`${url}/retainedMessage?maxResults=3`],
    }
    for (const [title, rest] of Object.entries(takes)) assert.equal(await curl([...right, ...rest]), 'station', title)
    assert.equal(await curl([...sign(`${accessKeyId}:${secret}`, 'eu-west-1:iotdevicegateway'), `${url}/w`]), 'station')

    const refuses: Readonly<Record<string, readonly string[]>> = {
      'a wrong secret': [...sign(`${accessKeyId}:${otherSecret}`), '-d', 'x', `${url}/topics/a`],
      'an unknown key': [...sign(`AKIDNOBODY0000000001:${secret}`), '-d', 'x', `${url}/topics/a`],
      'another region': [...sign(`${accessKeyId}:${secret}`, 'us-east-1:iotdata'), '-d', 'x', `${url}/topics/a`],
      'no region': ['--user', `${accessKeyId}:${secret}`, '--aws-sigv4', 'aws:amz', '-d', 'x', `${url}/topics/a`],
    }
    for (const [title, all] of Object.entries(refuses)) assert.equal(await curl(all), 'refused', title)
    assert.equal(verdicts.length, Object.keys(takes).length + Object.keys(refuses).length + 1)
  })

  it("takes what AWS's signer for JavaScript signs, in both forms, and each once", async (t) => {
    const { url, port } = await listen(t)
    const signer = new SignatureV4({
      region: 'eu-west-1',
      service: 'iotdata',
      sha256: Sha256,
      credentials: { accessKeyId, secretAccessKey: secret },
    })
    const unsigned = {
      method: 'POST',
      protocol: 'http:',
      hostname: '127.0.0.1',
      port,
      path: '/topics/devices%2Fd 1%2F$x'.replace(' ', '%20'),
      query: { qos: '1', contentType: 'text/plain; a=b' },
      headers: { host: `127.0.0.1:${port}`, 'content-type': 'text/plain' },
      body: 'hello',
    }
    const byHeader = await signer.sign(unsigned)
    assert.equal(await send(url, byHeader), 'station')
    assert.equal(await send(url, byHeader), 'refused')
    assert.equal(await send(url, { ...byHeader, body: 'hellO' }), 'refused')

    const byQuery = await signer.presign(unsigned, { expiresIn: 60 })
    assert.equal(await send(url, byQuery), 'station')
    assert.equal(await send(url, byQuery), 'refused')
    const noHash = new SignatureV4({
      region: 'eu-west-1',
      service: 'iotdata',
      sha256: Sha256,
      applyChecksum: false,
      credentials: { accessKeyId: 'ASIDEXAMPLE0000000002', secretAccessKey: secret, sessionToken: token },
    })
    assert.equal(await send(url, await noHash.presign(unsigned, { expiresIn: 604_800 })), 'temporary')
    assert.equal(await send(url, await noHash.sign({ ...unsigned, method: 'PUT' })), 'temporary')
  })
})

describe('sigv4: fuzz', () => {
  it('refuses a request in which one character was changed, wherever that is', async () => {
    const originals = [
      signed({ path: '/topics/de%20v%2F1', query: 'contentType=a%2Fb&qos=1', headers: { 'x-other': 'of;mine' } }),
      signed({ headers: { 'x-amz-content-sha256': sha256('{"a":1}') } }),
      upgrade({ expires: 900 }),
      upgrade(),
    ]
    const { authenticate } = open(registry, { once: async () => true })
    for (const original of originals) assert.equal((await authenticate(original)).kind, 'principal')

    const places = originals.flatMap((original) => {
      const http = original.http as HttpFacts
      const fields = [
        'method',
        'path',
        'query',
        ...Object.keys(http.headers),
        ...(http.body === undefined ? [] : ['body']),
      ]
      return fields.filter((field) => textIn(original, field).length > 0).map((field) => ({ original, field }))
    })
    let changed = 0
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...places),
        fc.nat(),
        fc.constantFrom(...Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index))),
        async ({ original, field }, position, character) => {
          const text = textIn(original, field)
          const index = position % text.length
          const mutated = text.slice(0, index) + character + text.slice(index + 1)
          // The same request in other letters: `%2f` for `%2F`.
          if (mutated === text || (field === 'query' && sameQuery(mutated, text))) return
          changed += 1
          const verdict = await authenticate(replaced(original, field, mutated))
          const scheme = field === 'authorization' && index < 'AWS4-'.length
          assert.equal(verdict.kind, scheme ? 'absent' : 'refused')
        },
      ),
      { numRuns: 5000 },
    )
    assert.ok(changed > 4000)
  })

  it('never throws for anything', async () => {
    const { authenticate } = open()
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 300 }),
      fc.constantFrom(
        'AWS4-HMAC-SHA256 ',
        'X-Amz-Signature=',
        plain.http?.headers['authorization'] ?? '',
        upgrade().http?.query ?? '',
      ),
      fc
        .array(
          fc.constantFrom(
            'AWS4-HMAC-SHA256',
            'Credential=',
            'SignedHeaders=',
            'Signature=',
            ',',
            ' ',
            ';',
            '&',
            '/',
            '%',
            'X-Amz-Date=',
          ),
        )
        .map((parts) => parts.join('')),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.record({ method: text, path: text, query: text, authorization: text, date: text, host: text, body: text }),
        fc.constantFrom<Presented['protocol']>('http', 'mqtt-ws'),
        async ({ method, path, query, authorization, date, host, body }, protocol) => {
          const headers = { authorization, host, 'x-amz-date': date, date }
          const http = { method, path, query, headers, body: async () => Buffer.from(body) }
          const verdict = await authenticate({ protocol, http })
          assert.notEqual(verdict.kind, 'principal')
        },
      ),
      { numRuns: 2000 },
    )
  })
})

function textIn({ http }: Presented, field: string): string {
  assert.ok(http !== undefined)
  if (field === 'method' || field === 'path' || field === 'query') return http[field]
  return field === 'body' ? '{"a":1}' : (http.headers[field] ?? '')
}

function replaced(original: Presented, field: string, text: string): Presented {
  if (field === 'method' || field === 'path' || field === 'query') return change(original, { [field]: text })
  if (field === 'body') return change(original, { body: async () => Buffer.from(text) })
  return withHeaders(original, { [field]: text })
}

function sameQuery(left: string, right: string): boolean {
  const [a, b] = [decodeQuery(left), decodeQuery(right)]
  return a !== undefined && b !== undefined && JSON.stringify([...a]) === JSON.stringify([...b])
}

/** An HTTP server that says who spoke: the name of the principal, or what the verdict was. */
async function listen(scope: Scope) {
  const verdicts: Verdict[] = []
  // Good for now, not for the fixed time of the other tests.
  const { authenticate } = sigv4.open(
    authContext(
      createRegistry(
        directoryOf({
          principals: [
            { name: 'station', proofs: { sigv4: { accessKeyId, secretAccessKey: secret } } },
            {
              name: 'temporary',
              proofs: { sigv4: { accessKeyId: 'ASIDEXAMPLE0000000002', secretAccessKey: secret, sessionToken: token } },
            },
          ],
        }),
      ),
    ),
  )
  const server = createServer((request, response) => {
    const [path = '', ...query] = (request.url ?? '').split('?')
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]))
    const body = async () => Buffer.concat(await request.toArray())
    const http = { method: request.method ?? '', path, query: query.join('?'), headers, body }
    void Promise.resolve(authenticate({ protocol: 'http', http })).then((verdict) => {
      verdicts.push(verdict)
      return response.end(verdict.kind === 'principal' ? verdict.principal.name : verdict.kind)
    })
  })
  const port = await listening(server, scope)
  return { url: `http://127.0.0.1:${port}`, port, verdicts }
}

async function curl(parameters: readonly string[]): Promise<string> {
  const child = spawn('curl', ['--silent', '--show-error', '--max-time', '20', ...parameters])
  const [out, error] = await Promise.all([child.stdout.toArray(), child.stderr.toArray(), once(child, 'close')])
  return Buffer.concat([...out, ...error]).toString()
}

async function send(
  url: string,
  signedRequest: {
    readonly method: string
    readonly path: string
    readonly query?: Readonly<Record<string, unknown>>
    readonly headers: Readonly<Record<string, string>>
    readonly body?: unknown
  },
): Promise<string> {
  const query = Object.entries(signedRequest.query ?? {})
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`)
    .join('&')
  const request = httpRequest(`${url}${signedRequest.path}?${query}`, {
    method: signedRequest.method,
    headers: signedRequest.headers,
  })
  request.end(signedRequest.body)
  const [response] = (await once(request, 'response')) as [AsyncIterable<Buffer>]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}
