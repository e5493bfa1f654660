import assert from 'node:assert/strict'
import { describe, it, test, type TestContext } from 'node:test'
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import type { Presented, Principal, Verdict } from '../../src/core/access.ts'
import { defaultAuthorizer } from '../../src/identity/default-authorizer.ts'
import { createAuthorizerMethod } from '../../src/identity/authorizer.ts'
import { authorizerSettings } from '../../src/identity/authorizer/settings.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { authMethodConformance } from '../conformance/auth-method.ts'
import {
  fixture,
  httpRequest,
  letIn,
  mqttNaming,
  noCertificates,
  openBoth,
  reasons,
  signingPair,
  type Written,
} from '../support/authorizers.ts'
import { authContext } from '../support/auth-context.ts'
import { directoryOf } from '../support/directory.ts'
import { makeCertificates } from '../support/certificates.ts'
import { startHttpTarget, type HttpTarget } from '../support/http-target.ts'

const pair = signingPair()
const other = signingPair()
const refused = { kind: 'refused', reason: 'unknown authorizer or wrong credential' }
const absent = { kind: 'absent' }
const unsigned = { signing: 'disabled' } as const
const signed = {
  tokenKeyName: 'token',
  tokenSigningPublicKeys: { old: other.publicKey, key1: pair.publicKey },
} as const

function principalOf(verdict: Verdict): Principal {
  assert.equal(verdict.kind, 'principal', inspect(verdict))
  assert.ok(verdict.kind === 'principal')
  return verdict.principal
}

/** A real endpoint that lets `device1` in, and keeps what it was asked. */
async function endpoint(
  scope: TestContext,
): Promise<HttpTarget & { says: (answer: unknown) => void; events: () => Record<string, unknown>[] }> {
  const target = await startHttpTarget(scope)
  const says = (answer: unknown) => (target.answer = () => ({ status: 200, body: JSON.stringify(answer) }))
  says(letIn())
  return Object.assign(target, {
    says,
    events: () => target.received.map(({ body }) => JSON.parse(body.toString()) as Record<string, unknown>),
  })
}

const moduleRegistry = (scope: { after: (end: () => void) => void }) =>
  openBoth(scope, [
    { name: 'signed', module: fixture('esm.mjs'), ...signed },
    { name: 'open', module: fixture('esm.mjs'), ...unsigned },
    { name: 'off', module: fixture('esm.mjs'), ...unsigned, status: 'INACTIVE' },
  ])
const whole = { after: (end: () => void) => test.after(end) }
const named = moduleRegistry(whole)
const right = `user?x-amz-customauthorizer-name=signed&token=t0ken-of-d1&x-amz-customauthorizer-signature=`
const withSignature = (signature: string): Presented => ({
  protocol: 'mqtt',
  clientId: 'c1',
  username: `${right}${encodeURIComponent(signature)}`,
})
const good = [
  { name: 'a', url: 'https://auth.example.com/ask?code=1', signing: 'disabled' },
  { name: 'a=b,c@d-e_F', url: 'http://127.0.0.1:8080/', signing: 'disabled', default: true, timeout: '100ms' },
  { name: 'a', url: 'https://a.example', ca: pair.publicKey, secret: `whsec_${'A'.repeat(32)}`, ...signed },
  { name: 'a', module: './authorizer.mjs', ...signed, certificate: 'required', cacheForHttp: true, memory: '128MiB' },
]
const bad = [
  {},
  { name: 'a' },
  { name: 'bridge', url: 'https://a.example', ...unsigned },
  { name: 'worker', url: 'https://a.example', ...unsigned },
  { name: 'a b', url: 'https://a.example', ...unsigned },
  { name: 'a', url: 'https://a.example' },
  { name: 'a', url: 'https://a.example', tokenKeyName: 'token' },
  { name: 'a', url: 'https://a.example', ...signed, tokenKeyName: 'to ken' },
  { name: 'a', url: 'https://a.example', ...signed, tokenKeyName: 'X-Amz-CustomAuthorizer-Name' },
  { name: 'a', url: 'https://a.example', ...signed, ...unsigned },
  { name: 'a', url: 'https://a.example', module: './a.mjs', ...unsigned },
  { name: 'a', url: 'http://a.example', ...unsigned },
  { name: 'a', url: 'http://localhost.example', ...unsigned },
  { name: 'a', url: 'https://u:p@a.example', ...unsigned },
  { name: 'a', url: 'ftp://a.example', ...unsigned },
  { name: 'a', url: 'https://a.example', secret: 'whsec_short', ...unsigned },
  { name: 'a', module: './a.mjs', secret: `whsec_${'A'.repeat(32)}`, ...unsigned },
  { name: 'a', module: './a.mjs', timeout: '6s', ...unsigned },
  { name: 'a', module: './a.mjs', memory: '1MiB', ...unsigned },
  { name: 'a', module: './a.mjs', status: 'active', ...unsigned },
  { name: 'a', module: './a.mjs', signing: 'disabled', more: 1 },
]

const method = createAuthorizerMethod(noCertificates)
authMethodConformance({
  method,
  registry: named.registry,
  context: { keep: named.context.keep },
  valid: [
    { presented: withSignature(pair.signed('t0ken-of-d1')), principal: 'signed:signed' },
    { presented: mqttNaming('open', 'open sesame'), principal: 'open:open' },
    {
      presented: httpRequest({
        'x-amz-customauthorizer-name': 'signed',
        token: 't0ken-of-d1',
        'x-amz-customauthorizer-signature': pair.signed('t0ken-of-d1'),
      }),
      principal: 'signed:signed',
    },
  ],
  wrong: {
    'an unknown authorizer': mqttNaming('nobody', 'open sesame'),
    'an authorizer that is INACTIVE': mqttNaming('off', 'open sesame'),
    'a password that the authorizer refuses': mqttNaming('open', 'a wrong passw0rd'),
    'a token with a signature of another': withSignature(pair.signed('another token')),
    'a token without a signature': withSignature(''),
  },
  absent: {
    'an MQTT client that names none': { protocol: 'mqtt', clientId: 'c', username: 'd1', password: Buffer.from('x') },
    'a user name of an AWS device SDK': { protocol: 'mqtt', clientId: 'c', username: '?SDK=NodeJSv2&Version=1.0' },
    'an HTTP request that names none': httpRequest({ authorization: 'Bearer x' }, 'qos=1'),
    'a request signed by AWS': httpRequest({
      authorization: 'AWS4-HMAC-SHA256 Credential=A/20260101/eu-west-1/iotdata/aws4_request',
      'x-amz-customauthorizer-name': 'signed',
    }),
    'a query signed by AWS': httpRequest({}, 'X-Amz-Algorithm=AWS4-HMAC-SHA256&x-amz-customauthorizer-name=signed'),
    'the upgrade of a WebSocket': { ...httpRequest({ 'x-amz-customauthorizer-name': 'open' }), protocol: 'mqtt-ws' },
    'a client that shows a certificate': mqttNaming('open', 'x', { tls: { certificate: Buffer.from('der') } }),
    'a client that chose X.509 by ALPN': mqttNaming('open', 'x', { tls: { alpn: 'x-amzn-mqtt-ca' } }),
  },
  secrets: ['t0ken-of-d1', 'open sesame', 'a wrong passw0rd', Buffer.from('open sesame').toString('base64')],
  part: method.section,
  proofs: { good, bad },
})

const lastly = openBoth(whole, [{ name: 'open', module: fixture('esm.mjs'), ...unsigned, default: true }])
const plain = (password: string): Presented => ({
  protocol: 'mqtt',
  clientId: 'c',
  username: 'somebody',
  password: Buffer.from(password),
})
authMethodConformance({
  method: defaultAuthorizer,
  registry: lastly.registry,
  context: { keep: lastly.context.keep },
  valid: [{ presented: plain('open sesame'), principal: 'open:open' }],
  wrong: {
    'a password that the authorizer refuses': plain('a wrong passw0rd'),
    'nothing at all': { protocol: 'mqtt', clientId: 'c' },
    'a server name whose authorizer does not exist': {
      ...plain('open sesame'),
      tls: { authorizer: { default: 'gone', allowOverride: true } },
    },
  },
  absent: {
    'a client that names one': mqttNaming('open'),
    'the upgrade of a WebSocket': { ...httpRequest({}), protocol: 'mqtt-ws' },
    'a client certificate': { ...plain('open sesame'), tls: { certificate: Buffer.from('der') } },
  },
  secrets: ['open sesame', 'a wrong passw0rd'],
  part: method.section,
  proofs: { good, bad },
})

describe('which authorizer is asked', () => {
  const authorizersAt = (url: string): Written[] => [
    { name: 'first', url, ...unsigned },
    { name: 'second', url, ...unsigned, default: true },
  ]
  const whose = async (both: ReturnType<typeof openBoth>, presented: Presented) => {
    const verdict = await both.authenticate(presented)
    return verdict.kind === 'principal' ? verdict.principal.name.split(':')[0] : verdict.kind
  }

  it('is the one that is named, else that of the server name, else the default', async (t) => {
    const { url } = await endpoint(t)
    const both = openBoth(t, authorizersAt(url))
    const bound = (allowOverride: boolean) => ({ tls: { authorizer: { default: 'first', allowOverride } } })
    assert.equal(await whose(both, mqttNaming('first')), 'first')
    assert.equal(await whose(both, plain('x')), 'second')
    assert.equal(await whose(both, { ...plain('x'), ...bound(false) }), 'first')
    assert.equal(await whose(both, mqttNaming('first', 'x', bound(false))), 'first')
    assert.equal(await whose(both, mqttNaming('second', 'x', bound(false))), 'refused')
    assert.equal(await whose(both, mqttNaming('second', 'x', bound(true))), 'second')
    assert.equal(
      await whose(both, mqttNaming('second', 'x', { tls: { authorizer: { allowOverride: false } } })),
      'second',
    )
    both.reload([{ name: 'first', url, ...unsigned }])
    assert.equal(await whose(both, plain('x')), 'absent')
    both.reload([])
    assert.equal(await whose(both, mqttNaming('first')), 'refused')
  })

  it('is found in every form of user name', async (t) => {
    const { url } = await endpoint(t)
    const both = openBoth(t, [
      { name: 'a=b,c@d', url, ...signed },
      { name: 'first', url, ...signed },
    ])
    const signature = encodeURIComponent(pair.signed('a token/+'))
    const rest = `x-amz-customauthorizer-signature=${signature}&token=a%20token%2F+`
    for (const username of [
      `?x-amz-customauthorizer-name=first&${rest}`,
      `user?x-amz-customauthorizer-name=first&${rest}`,
      `user?${rest}&x-amz-customauthorizer-name=first`,
      `user?SDK=Python&Version=1.4.8&x-amz-customauthorizer-name=first&${rest}`,
      `user?x-amz-customauthorizer-name=first&${rest}&SDK=Python&Version=1.4.8`,
      `user?x-amz-customauthorizer-name=first&${rest}?SDK=Python&Version=1.4.8`,
      `?SDK=CPPv2&Version=1&x-amz-customauthorizer-name=first&${rest}&&flag&=`,
      `user?X-Amz-CustomAuthorizer-Name=first&${rest}`,
      `user?x-amz-customauthorizer-name=first&x-amz-customauthorizer-name=first&${rest}`,
    ]) {
      assert.equal(await whose(both, { protocol: 'mqtt', clientId: 'c', username }), 'first', username)
    }
    const strange = `user?x-amz-customauthorizer-name=a%3Db%2Cc%40d&${rest}`
    assert.equal(await whose(both, { protocol: 'mqtt', clientId: 'c', username: strange }), 'a=b,c@d')
    for (const username of [
      `user?x-amz-customauthorizer-name=first&x-amz-customauthorizer-name=second&${rest}`,
      `user?x-amz-customauthorizer-name=fir%zzst&${rest}`,
      `user?x-amz-customauthorizer-name=first&token=more&${rest}`,
      `user?x-amz-customauthorizer-name=&${rest}`,
      `user?x-amz-customauthorizer-name=__proto__&${rest}`,
    ]) {
      assert.equal(await whose(both, { protocol: 'mqtt', clientId: 'c', username }), 'refused', username)
    }
    for (const username of ['user', 'user?', '?', '', 'user?100%', 'user&x-amz-customauthorizer-name=first']) {
      assert.equal(await whose(both, { protocol: 'mqtt', clientId: 'c', username }), 'absent', username)
    }
  })

  it('is found in HTTP headers and queries, and of a WebSocket at CONNECT', async (t) => {
    const target = await endpoint(t)
    const both = openBoth(t, [{ name: 'first', url: target.url, ...signed }])
    const headers = {
      'x-amz-customauthorizer-name': 'first',
      'x-amz-customauthorizer-signature': pair.signed('tok'),
      token: 'tok',
    }
    const query = `x-amz-customauthorizer-name=first&token=tok&x-amz-customauthorizer-signature=${encodeURIComponent(pair.signed('tok'))}`
    assert.equal(await whose(both, httpRequest(headers)), 'first')
    assert.equal(await whose(both, httpRequest({}, query)), 'first')
    assert.equal(await whose(both, httpRequest(headers, query)), 'first')
    assert.equal(await whose(both, httpRequest({ ...headers, token: 'another' }, query)), 'refused')
    assert.equal(await whose(both, httpRequest({ 'x-amz-customauthorizer-name': 'first, second' })), 'refused')
    const upgrade: Presented = { ...httpRequest(headers), protocol: 'mqtt-ws' }
    assert.equal(await whose(both, upgrade), 'absent')
    assert.equal(await whose(both, { ...upgrade, clientId: 'c' }), 'first')
    const inConnect = { clientId: 'c', username: `?${query}` }
    assert.equal(await whose(both, { ...httpRequest({ host: 'h' }), protocol: 'mqtt-ws', ...inConnect }), 'first')
    assert.deepEqual(target.events().at(-1)?.['protocols'], ['http', 'mqtt'])
  })
})

describe('the signature of a token', () => {
  it('is checked with every key before the authorizer is asked', async (t) => {
    const target = await endpoint(t)
    const both = openBoth(t, [{ name: 'first', url: target.url, ...signed }])
    const third = signingPair()
    const show = (token: string, signature?: string) =>
      both.authenticate(
        httpRequest({
          'x-amz-customauthorizer-name': 'first',
          token,
          ...(signature !== undefined && { 'x-amz-customauthorizer-signature': signature }),
        }),
      )
    for (const wrong of [undefined, '', 'AAAA', third.signed('tok'), pair.signed('tok2'), `${pair.signed('tok')} `]) {
      assert.deepEqual(await show('tok', wrong), refused)
    }
    const long = 'x'.repeat(6_145)
    assert.deepEqual(await show(long, pair.signed(long)), refused)
    assert.deepEqual(await both.authenticate(mqttNaming('first')), refused)
    assert.equal(target.received.length, 0)
    assert.equal((await show('tok', pair.signed('tok'))).kind, 'principal')
    assert.equal((await show('tok', other.signed('tok'))).kind, 'principal')
    const [event] = target.events()
    assert.equal(event?.['token'], 'tok')
    assert.equal(event?.['signatureVerified'], true)
  })

  it('is not looked at with signing: disabled, and the event says so', async (t) => {
    const target = await endpoint(t)
    const both = openBoth(t, [{ name: 'first', url: target.url, ...unsigned, tokenKeyName: 'Token' }])
    assert.equal(
      (await both.authenticate(httpRequest({ 'x-amz-customauthorizer-name': 'first', token: 't' }))).kind,
      'principal',
    )
    assert.equal((await both.authenticate(mqttNaming('first'))).kind, 'principal')
    assert.deepEqual(
      target.events().map(({ token, signatureVerified }) => [token, signatureVerified]),
      [
        ['t', false],
        [undefined, false],
      ],
    )
  })
})

describe('what an authorizer is asked', () => {
  it('is the event of AWS, without what does not apply', async (t) => {
    const target = await endpoint(t)
    const both = openBoth(t, [{ name: 'first', url: target.url, ...unsigned }])
    await both.authenticate(mqttNaming('first', 'pass', { tls: { serverName: 'iot.example.com' } }))
    await both.authenticate(
      httpRequest({ 'x-amz-customauthorizer-name': 'first', host: 'h' }, 'qos=1&a=b', { tls: {} }),
    )
    const username = '?x-amz-customauthorizer-name=first'
    await both.authenticate({ ...httpRequest({ host: 'h' }), protocol: 'mqtt-ws', clientId: '', username })
    const ids = target.events().map(({ connectionMetadata }) => (connectionMetadata as { id: string }).id)
    assert.equal(new Set(ids).size, 3)
    for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    assert.deepEqual(
      target.events().map((event) => ({ ...event, connectionMetadata: undefined })),
      [
        {
          connectionMetadata: undefined,
          signatureVerified: false,
          protocols: ['tls', 'mqtt'],
          protocolData: {
            tls: { serverName: 'iot.example.com' },
            mqtt: {
              username: 'somebody?x-amz-customauthorizer-name=first',
              password: Buffer.from('pass').toString('base64'),
              clientId: 'c1',
            },
          },
        },
        {
          connectionMetadata: undefined,
          signatureVerified: false,
          protocols: ['tls', 'http'],
          protocolData: {
            tls: {},
            http: { headers: { 'x-amz-customauthorizer-name': 'first', host: 'h' }, queryString: '?qos=1&a=b' },
          },
        },
        {
          connectionMetadata: undefined,
          signatureVerified: false,
          protocols: ['http', 'mqtt'],
          protocolData: { http: { headers: { host: 'h' } }, mqtt: { username, clientId: '' } },
        },
      ],
    )
  })

  it('has at most 8 KB of HTTP', async (t) => {
    const target = await endpoint(t)
    const both = openBoth(t, [{ name: 'first', url: target.url, ...unsigned }])
    const long = { 'x-amz-customauthorizer-name': 'first', cookie: 'x'.repeat(8_192) }
    assert.deepEqual(await both.authenticate(httpRequest(long)), refused)
    assert.equal(target.received.length, 0)
    assert.deepEqual(reasons(both.log), ['the HTTP headers and query have more than 8 KB'])
  })
})

describe('what an authorizer answers', () => {
  it('becomes a principal with its policies and its ends', async (t) => {
    const target = await endpoint(t)
    const both = openBoth(t, [{ name: 'first', url: target.url, ...unsigned }])
    const document = { Version: '2012-10-17', Statement: [] }
    target.says(letIn({ policyDocuments: [document, JSON.stringify(document)], context: { a: 'b' } }))
    assert.deepEqual(principalOf(await both.authenticate(mqttNaming('first'))), {
      name: 'first:device1',
      id: 'device1',
      method: 'authorizer',
      documents: [document, document],
      until: both.time + 3_600_000,
      renewAt: both.time + 300_000,
    })
    target.says(JSON.stringify(letIn({ principalId: 'd2' })))
    assert.equal(principalOf(await both.authenticate(mqttNaming('first'))).name, 'first:d2')
    target.says({ isAuthenticated: false, principalId: 7, policyDocuments: 'x' })
    assert.deepEqual(await both.authenticate(mqttNaming('first')), refused)
    assert.deepEqual(both.log.lines, [])
  })

  it('lets nobody in under a name that somebody else has', async (t) => {
    const target = await endpoint(t)
    const both = openBoth(t, [{ name: 'first', url: target.url, ...unsigned }], {
      principals: [{ name: 'first:device1' }],
    })
    assert.deepEqual(await both.authenticate(mqttNaming('first')), refused)
    target.says(letIn({ principalId: 'device2' }))
    assert.equal(principalOf(await both.authenticate(mqttNaming('first'))).name, 'first:device2')
    const sections = { authorizers: [authorizerSettings.parse({ name: 'first', url: target.url, ...unsigned })] }
    const registry = createRegistry(directoryOf({ sections: { ...sections, issuers: [{ name: 'first' }] } }))
    const opened = method.open(authContext(registry))
    assert.deepEqual(await opened.authenticate(mqttNaming('first')), refused)
  })

  it('lets nobody in where anything about it is malformed, and says which field', async (t) => {
    const target = await endpoint(t)
    const both = openBoth(t, [{ name: 'first', url: target.url, ...unsigned }])
    const malformed: readonly (readonly [unknown, string])[] = [
      [letIn({ isAuthenticated: 'true' }), 'isAuthenticated'],
      [letIn({ isAuthenticated: 1 }), 'isAuthenticated'],
      [{ principalId: 'a' }, 'isAuthenticated'],
      [letIn({ principalId: '' }), 'principalId'],
      [letIn({ principalId: 'a-b' }), 'principalId'],
      [letIn({ principalId: 'secret of the answer' }), 'principalId'],
      [letIn({ principalId: 'a'.repeat(129) }), 'principalId'],
      [letIn({ principalId: 17 }), 'principalId'],
      [letIn({ policyDocuments: undefined }), 'policyDocuments'],
      [letIn({ policyDocuments: {} }), 'policyDocuments'],
      [letIn({ policyDocuments: Array.from({ length: 11 }, () => ({})) }), 'policyDocuments'],
      [letIn({ policyDocuments: [{}, { a: 'x'.repeat(2_048) }] }), 'policyDocuments.1'],
      [letIn({ policyDocuments: [` ${'x'.repeat(2_048)}`] }), 'policyDocuments.0'],
      [letIn({ policyDocuments: ['secret of the answer'] }), 'policyDocuments.0'],
      [letIn({ policyDocuments: [[]] }), 'policyDocuments.0'],
      [letIn({ policyDocuments: [null] }), 'policyDocuments.0'],
      [letIn({ disconnectAfterInSeconds: 299 }), 'disconnectAfterInSeconds'],
      [letIn({ disconnectAfterInSeconds: 86_401 }), 'disconnectAfterInSeconds'],
      [letIn({ disconnectAfterInSeconds: '300' }), 'disconnectAfterInSeconds'],
      [letIn({ refreshAfterInSeconds: 300.5 }), 'refreshAfterInSeconds'],
      [letIn({ refreshAfterInSeconds: 299 }), 'refreshAfterInSeconds'],
      [letIn({ refreshAfterInSeconds: null }), 'refreshAfterInSeconds'],
      [[letIn()], ''],
      [null, ''],
      ['{"isAuthenticated":', ''],
    ]
    for (const [answer, field] of malformed) {
      target.says(answer)
      both.log.lines.length = 0
      both.reload([{ name: 'first', url: target.url, ...unsigned }])
      assert.deepEqual(await both.authenticate(mqttNaming('first')), refused, inspect(answer))
      assert.deepEqual(
        both.log.lines.map(({ facts }) => [facts['authorizer'], facts['field']]),
        [['first', field]],
      )
      assert.ok(!inspect(both.log.lines).includes('secret of the answer'))
    }
  })

  it('lets nobody in whatever else it is', async (t) => {
    const target = await endpoint(t)
    const both = openBoth(t, [{ name: 'first', url: target.url, ...unsigned }])
    const anything = fc.oneof(
      fc.json(),
      fc.string({ unit: 'binary' }),
      fc
        .record(
          {
            isAuthenticated: fc.constantFrom<unknown>('true', 1, 'yes', null, [true], {}),
            principalId: fc.anything(),
            policyDocuments: fc.anything(),
          },
          { requiredKeys: [] },
        )
        .map((answer) =>
          JSON.stringify(answer, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
        ),
    )
    await fc.assert(
      fc.asyncProperty(anything, async (body) => {
        target.answer = () => ({ status: 200, body })
        assert.deepEqual(await both.authenticate(mqttNaming('first')), refused)
      }),
      { numRuns: 200 },
    )
  })
})

describe('an authorizer and a connection in its life', () => {
  async function connected(t: TestContext) {
    const target = await endpoint(t)
    const written = { name: 'first', url: target.url, ...unsigned }
    const both = openBoth(t, [written])
    const presented = mqttNaming('first')
    const principal = principalOf(await both.authenticate(presented))
    return { target, both, written, presented, principal, started: both.time }
  }

  it('keeps its verdict through reloads until it is to be refreshed', async (t) => {
    const { target, both, written, presented, principal } = await connected(t)
    both.reload([{ ...written, cacheForHttp: true }])
    both.time += 299_000
    assert.deepEqual(await both.renew(presented, principal), { kind: 'principal', principal })
    assert.deepEqual(await both.renew(presented, { ...principal }), { kind: 'principal', principal })
    assert.equal(target.received.length, 1)
  })

  it('is asked again when it is to be refreshed; the end stays what it was', async (t) => {
    const { target, both, presented, principal, started } = await connected(t)
    const document = { Version: '2012-10-17', Statement: [{ Effect: 'Deny', Action: '*', Resource: '*' }] }
    target.says(letIn({ policyDocuments: [document], disconnectAfterInSeconds: 86_400 }))
    both.time += 300_000
    const second = principalOf(await both.renew(presented, principal))
    assert.deepEqual(second, {
      ...principal,
      documents: [document],
      until: started + 3_600_000,
      renewAt: both.time + 300_000,
    })
    const [before, after] = target.events()
    assert.deepEqual(after, before)
    both.time = started + 3_600_000
    assert.deepEqual(await both.renew(presented, second), refused)
    assert.equal(target.received.length, 2)
  })

  it('ends the connection where it refuses, fails, or means another at the refresh', async (t) => {
    const { target, both, presented, principal } = await connected(t)
    both.time += 300_000
    for (const answer of [{ isAuthenticated: false }, {}, letIn({ principalId: 'device2' })]) {
      target.says(answer)
      assert.deepEqual(await both.renew(presented, principal), refused)
    }
    await target.stop()
    assert.deepEqual(await both.renew(presented, principal), refused)
  })

  it('ends the connection where it is gone, INACTIVE, or another is to be asked; and is asked again where it changed', async (t) => {
    const { target, both, written, presented, principal } = await connected(t)
    both.reload([{ ...written, status: 'INACTIVE' }])
    assert.deepEqual(await both.renew(presented, principal), refused)
    both.reload([])
    assert.deepEqual(await both.renew(presented, principal), refused)
    both.reload([written])
    assert.deepEqual(await both.renew(presented, { ...principal, name: 'second:device1' }), refused)
    assert.equal(target.received.length, 1)
    both.reload([{ ...written, tokenKeyName: 'token' }])
    assert.equal(principalOf(await both.renew(presented, principal)).name, principal.name)
    assert.equal(target.received.length, 2)
    both.reload([{ ...written, ...signed, signing: 'required' }])
    assert.deepEqual(await both.renew(presented, principal), refused)
  })
})

describe('HTTP requests of one connection', () => {
  const naming = { 'x-amz-customauthorizer-name': 'first', 'x-key': 'k1' }

  it('are asked about one by one', async (t) => {
    const target = await endpoint(t)
    const both = openBoth(t, [{ name: 'first', url: target.url, ...unsigned }])
    const connection = {}
    for (let index = 0; index < 3; index++)
      principalOf(await both.authenticate(httpRequest(naming, '', { connection })))
    assert.equal(target.received.length, 3)
    assert.equal(new Set(target.events().map((event) => JSON.stringify(event))).size, 1)
  })

  it('are asked about once with cacheForHttp, while they show the same and it is fresh', async (t) => {
    const target = await endpoint(t)
    const both = openBoth(t, [{ name: 'first', url: target.url, ...unsigned, cacheForHttp: true }])
    const connection = {}
    const ask = async (more = {}, query = '', own = connection) =>
      both.authenticate(httpRequest({ ...naming, ...more }, query, { connection: own }))
    const first = principalOf(await ask({ 'content-length': '5' }))
    const again = principalOf(await ask({ 'content-length': '17', date: 'now' }))
    assert.deepEqual(again, first)
    assert.equal(again.documents, first.documents)
    assert.equal(target.received.length, 1)
    // What is shown by another device, which a proxy sends over the same connection, is another question.
    target.says({ isAuthenticated: false })
    assert.deepEqual(await ask({ 'x-key': 'k2' }), refused)
    assert.deepEqual(await ask({}, 'x=1'), refused)
    assert.deepEqual(await ask({}, '', {}), refused)
    assert.equal(target.received.length, 4)
    assert.equal((await ask()).kind, 'principal')
    both.time += 300_000
    assert.deepEqual(await ask(), refused)
    both.reload([{ name: 'first', url: target.url, ...unsigned, cacheForHttp: true, status: 'INACTIVE' }])
    assert.deepEqual(await ask(), refused)
  })
})

describe('an authorizer with certificate: required', () => {
  const id = 'ab'.repeat(32)
  const certificatePrincipal: Principal = {
    name: id,
    id,
    method: 'x509',
    thing: 'd-17',
    certificate: { certificateId: id, serialNumber: '17' },
    groups: ['field'],
  }

  async function both(t: TestContext, more: Readonly<Record<string, unknown>> = {}) {
    const target = await endpoint(t)
    target.says(letIn({ principalId: id, policyDocuments: [{ Statement: [] }] }))
    const der = Buffer.from((await makeCertificates(t)).cert.replaceAll(/-----[A-Z ]+-----|\s/g, ''), 'base64')
    const state = { valid: true }
    const opened = openBoth(
      t,
      [
        { name: 'first', url: target.url, ...unsigned, certificate: 'required', ...more },
        { name: 'plain', url: target.url, ...unsigned },
      ],
      {
        principals: [{ name: id, policies: ['telemetry'] }],
        policies: ['telemetry'],
        x509: {
          open: () => ({
            async authenticate({ tls }) {
              if (!tls?.certificate?.equals(der)) return { kind: 'absent' }
              return state.valid
                ? { kind: 'principal', principal: certificatePrincipal }
                : { kind: 'refused', reason: 'x' }
            },
          }),
        },
      },
    )
    const tls = { certificate: der, serverName: 'iot.example.com' }
    return { target, opened, state, tls, presented: mqttNaming('first', 'p', { tls }) }
  }

  it('hands the certificate over, and puts its policies beside those of the answer', async (t) => {
    const { target, opened, presented } = await both(t)
    const principal = principalOf(await opened.authenticate(presented))
    assert.deepEqual(principal, {
      name: `first:${id}`,
      id,
      method: 'authorizer',
      thing: 'd-17',
      policies: ['telemetry'],
      groups: ['field'],
      certificate: { certificateId: id, serialNumber: '17' },
      documents: [{ Statement: [] }],
      until: opened.time + 3_600_000,
      renewAt: opened.time + 300_000,
    })
    assert.deepEqual(
      opened.registry.policiesOf(principal).map(({ name }) => name),
      ['telemetry'],
    )
    const [event] = target.events()
    assert.ok(event !== undefined)
    const { tls } = event['protocolData'] as { tls: Record<string, string> }
    assert.equal(tls['principalId'], id)
    assert.match(tls['x509CertificatePem'] ?? '', /^-----BEGIN CERTIFICATE-----\n[\s\S]+\n-----END CERTIFICATE-----\n$/)
  })

  it('refuses without a certificate, with one that is not ACTIVE, and where the answer means another', async (t) => {
    const { target, opened, state, presented } = await both(t)
    assert.deepEqual(await opened.authenticate(mqttNaming('first')), refused)
    state.valid = false
    assert.deepEqual(await opened.authenticate(presented), refused)
    assert.equal(target.received.length, 0)
    state.valid = true
    target.says(letIn({ principalId: 'cd'.repeat(32) }))
    assert.deepEqual(await opened.authenticate(presented), refused)
  })

  it('ends the connection when the certificate is not ACTIVE any more', async (t) => {
    const { opened, state, presented } = await both(t)
    const principal = principalOf(await opened.authenticate(presented))
    assert.deepEqual(principalOf(await opened.renew(presented, principal)), principal)
    state.valid = false
    assert.deepEqual(await opened.renew(presented, principal), refused)
  })

  it('is not got past, where it is the one of the server name or the default', async (t) => {
    const { target, opened, tls } = await both(t, { default: true })
    const plainly: Presented = { protocol: 'mqtt', clientId: 'c', tls }
    assert.equal(principalOf(await opened.authenticate(plainly)).name, `first:${id}`)
    target.says({ isAuthenticated: false })
    const ways: Record<string, Presented> = {
      'by its certificate alone': plainly,
      'by ALPN': { ...plainly, tls: { ...tls, alpn: 'x-amzn-mqtt-ca' } },
      'by naming another': mqttNaming('plain', 'p', { tls }),
      'by signing besides': httpRequest({ authorization: 'AWS4-HMAC-SHA256 x' }, '', { tls }),
      'over a WebSocket': { ...httpRequest({}, '', { tls }), protocol: 'mqtt-ws' },
      'over a WebSocket, at CONNECT': { ...httpRequest({}, '', { tls }), protocol: 'mqtt-ws', clientId: 'c' },
    }
    for (const [way, presented] of Object.entries(ways)) {
      assert.deepEqual(await opened.authenticate(presented), refused, way)
    }
    // Without a certificate another may be named, as with AWS.
    target.says(letIn())
    assert.equal(principalOf(await opened.authenticate(mqttNaming('plain'))).name, 'plain:device1')
    assert.deepEqual(await opened.authenticate(plain('x')), refused)
  })

  it('leaves those who name none to x509, where it is neither', async (t) => {
    const { opened, tls } = await both(t)
    assert.deepEqual(await opened.authenticate({ protocol: 'mqtt', clientId: 'c', tls }), absent)
    assert.deepEqual(await opened.authenticate(mqttNaming('plain', 'p', { tls })), absent)
  })
})

describe('whatever is shown', () => {
  it('never throws, and lets nobody in without an answer', async (t) => {
    const target = await endpoint(t)
    target.says({ isAuthenticated: false })
    const both = openBoth(t, [
      { name: 'first', url: target.url, ...unsigned, default: true },
      { name: 'second', url: target.url, ...signed },
    ])
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('first', 'second', '?', '%', '%zz', '&', '=', 'x-amz-customauthorizer-name', 'token'),
    )
    const query = fc.array(text, { maxLength: 8 }).map((parts) => parts.join(''))
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('mqtt', 'mqtt-ws', 'http'),
        query,
        query,
        fc.dictionary(text, text),
        async (protocol, username, ownQuery, headers) => {
          const verdict = await both.authenticate({
            protocol,
            username: `u?x-amz-customauthorizer-name=${username}`,
            password: Buffer.from(ownQuery),
            clientId: 'c',
            ...(protocol !== 'mqtt' && { http: { method: 'POST', path: '/', query: ownQuery, headers } }),
          })
          assert.notEqual(verdict.kind, 'principal')
        },
      ),
      { numRuns: 300 },
    )
  })
})
