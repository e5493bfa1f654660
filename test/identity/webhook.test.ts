import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import type { Presented } from '../../src/core/access.ts'
import type { AuthMethodContext } from '../../src/identity/method.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { maxWebhookSkewMs, webhook } from '../../src/identity/webhook.ts'
import { authMethodConformance } from '../conformance/auth-method.ts'
import { authContext } from '../support/auth-context.ts'
import { directoryOf } from '../support/directory.ts'

/** From the tests of Standard Webhooks' own libraries, with the signature that they expect. */
const vector = {
  secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  timestamp: '1614265330',
  body: '{"test": 2432232314}',
  signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
}
const second = 'whsec_c2Vjb25kIHNlY3JldCBvZiB0aGUgcGxhbnQh'
const other = 'whsec_YW5vdGhlcidzIHNlY3JldCwgMzIgYnl0ZXMgbG9uZyE='
const now = Number(vector.timestamp) * 1000

const registry = createRegistry(
  directoryOf({
    principals: [
      { name: 'plant', actsFor: ['*'], proofs: { webhook: { secret: [second, vector.secret] } } },
      { name: 'other', proofs: { webhook: { secret: other } } },
      { name: 'none' },
    ],
  }),
)

/** By the specification: `{id}.{timestamp}.{body}`, HMAC-SHA256, base64. */
function sign(secret: string, id: string, timestamp: string, body: string): string {
  const key = Buffer.from(secret.replace('whsec_', ''), 'base64')
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`
}

interface Sent {
  readonly principal?: string | undefined
  readonly secret?: string
  readonly id?: string
  readonly timestamp?: string
  readonly body?: string
  readonly signature?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly protocol?: 'http' | 'mqtt-ws'
}

function sent(what: Sent = {}): Presented {
  const { secret = vector.secret, id = vector.id, timestamp = vector.timestamp, body = vector.body } = what
  const headers = {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': what.signature ?? sign(secret, id, timestamp, body),
    'x-sluice-principal': what.principal ?? 'plant',
    ...what.headers,
  }
  const http = { method: 'POST', path: '/messages', query: '', headers, body: async () => Buffer.from(body) }
  return { protocol: what.protocol ?? 'http', http }
}

function without(header: string): Presented {
  const presented = sent()
  assert.ok(presented.http !== undefined)
  const headers = Object.fromEntries(Object.entries(presented.http.headers).filter(([name]) => name !== header))
  return { ...presented, http: { ...presented.http, headers } }
}

const open = (more: Partial<AuthMethodContext> = {}) => webhook.open(authContext(registry, { now: () => now, ...more }))
const seconds = (ms: number) => String((now + ms) / 1000)

authMethodConformance({
  method: webhook,
  registry,
  context: { now: () => now, once: async () => true },
  valid: [
    { presented: sent({ signature: vector.signature }), principal: 'plant' },
    { presented: sent({ secret: second }), principal: 'plant' },
    { presented: sent({ principal: 'other', secret: other }), principal: 'other' },
    { presented: sent({ body: '' }), principal: 'plant' },
    { presented: sent({ timestamp: seconds(maxWebhookSkewMs) }), principal: 'plant' },
    { presented: sent({ timestamp: seconds(-maxWebhookSkewMs) }), principal: 'plant' },
    {
      presented: sent({
        signature: `v1,${'A'.repeat(43)}= v2,${'A'.repeat(43)}= v1a,x ${vector.signature} v1,${'A'.repeat(43)}=`,
      }),
      principal: 'plant',
    },
  ],
  wrong: {
    'an unknown principal': sent({ principal: 'nobody' }),
    'a wrong secret': sent({ secret: other }),
    "another's name": sent({ principal: 'other' }),
    'a principal without a secret': sent({ principal: 'none' }),
    'a name that every object has': sent({ principal: 'constructor' }),
    'another body': sent({ body: '{"test": 2432232315}', signature: vector.signature }),
    'another id': sent({ id: 'msg_1', signature: vector.signature }),
    'another timestamp': sent({ timestamp: seconds(1000), signature: vector.signature }),
    'an old timestamp': sent({ timestamp: seconds(-maxWebhookSkewMs - 1000) }),
    'a timestamp of the future': sent({ timestamp: seconds(maxWebhookSkewMs + 1000) }),
    'a timestamp in milliseconds': sent({ timestamp: String(now) }),
    'a timestamp that is no number': sent({ timestamp: 'now' }),
    'an id with a full stop': sent({ id: 'msg.1' }),
    'a part of the timestamp in the id': sent({
      id: `${vector.id}.${vector.timestamp}`,
      timestamp: vector.timestamp,
      body: 'x',
      signature: sign(vector.secret, vector.id, vector.timestamp, `${vector.timestamp}.x`),
    }),
    'no id': without('webhook-id'),
    'no timestamp': without('webhook-timestamp'),
    'no signature': without('webhook-signature'),
    'no principal': without('x-sluice-principal'),
    'a signature of another scheme': sent({ signature: vector.signature.replace('v1,', 'v1a,') }),
    'a shorter signature': sent({ signature: vector.signature.slice(0, 20) }),
    'an empty signature': sent({ signature: 'v1,' }),
    'more signatures than are compared': sent({
      signature: `${`v1,${'A'.repeat(43)}= `.repeat(8)}${vector.signature}`,
    }),
    'a header of a megabyte': sent({ signature: 'v1,'.repeat(350_000) }),
  },
  absent: {
    'an HTTP request without these headers': {
      protocol: 'http',
      http: { method: 'POST', path: '/messages', query: '', headers: { authorization: 'Bearer x' } },
    },
    'a WebSocket': sent({ protocol: 'mqtt-ws' }),
    'an MQTT client': { protocol: 'mqtt', username: 'plant', password: Buffer.from(vector.secret) },
  },
  secrets: [vector.secret, second, other, vector.signature.slice(3), vector.secret.slice(6)],
  proofs: {
    good: [{ secret: vector.secret }, { secret: [vector.secret, second] }, { secret: '${file:/run/secrets/plant}' }],
    bad: [vector.secret, {}, { secret: [] }, { secret: 5 }, { secret: vector.secret, algorithm: 'md5' }],
  },
})

describe('webhook', () => {
  it('takes each attempt once; the next attempt has a timestamp of its own', async () => {
    const asked: [string, number][] = []
    const seen = new Set<string>()
    const once = async (key: string, ms: number) => {
      asked.push([key, ms])
      return !seen.has(key) && seen.add(key) !== undefined
    }
    const { authenticate } = open({ once })
    assert.equal((await authenticate(sent())).kind, 'principal')
    assert.equal((await authenticate(sent())).kind, 'refused')
    assert.equal((await authenticate(sent({ timestamp: seconds(5000) }))).kind, 'principal')
    assert.equal((await authenticate(sent({ principal: 'other', secret: other }))).kind, 'principal')
    assert.equal(asked.length, 4)
    for (const [key, ms] of asked) {
      assert.match(key, /^webhook:[0-9a-f]{64}$/)
      assert.equal(ms, 2 * maxWebhookSkewMs)
    }
  })

  it('remembers nothing that is wrong', async () => {
    const once = () => assert.fail('asked for a wrong signature')
    assert.equal((await open({ once }).authenticate(sent({ secret: other }))).kind, 'refused')
    assert.equal((await open({ once }).authenticate(sent({ principal: 'nobody' }))).kind, 'refused')
  })

  it('refuses while the store is away, and says that it may be asked again', async () => {
    const verdict = await open({ once: () => Promise.reject(new Error('away')) }).authenticate(sent())
    assert.equal(verdict.kind === 'refused' && verdict.afterMs, 1000)
  })

  it('reads the body last, as often for those it does not know, and lets its rejection through', async () => {
    const cut = new Error('cut off')
    let reads = 0
    const body = () => Promise.reject((reads += 1) > 0 ? cut : undefined)
    const cutOff = (what: Presented): Presented => ({ ...what, ...(what.http && { http: { ...what.http, body } }) })
    const { authenticate } = open()
    await assert.rejects(async () => authenticate(cutOff(sent())), cut)
    await assert.rejects(async () => authenticate(cutOff(sent({ principal: 'nobody' }))), cut)
    assert.equal(reads, 2)
    assert.equal((await authenticate(cutOff(sent({ timestamp: '1' })))).kind, 'refused')
    assert.equal((await authenticate(cutOff(sent({ signature: 'v1,x' })))).kind, 'refused')
    assert.equal(reads, 2)
  })

  it('takes what openssl signs', async () => {
    const key = Buffer.from(vector.secret.slice(6), 'base64').toString('hex')
    const made = execFileSync('openssl', ['dgst', '-sha256', '-mac', 'HMAC', '-macopt', `hexkey:${key}`, '-binary'], {
      input: `${vector.id}.${vector.timestamp}.${vector.body}`,
    }).toString('base64')
    assert.equal((await open().authenticate(sent({ signature: `v1,${made}` }))).kind, 'principal')
  })

  it('wants secrets as the specification has them, and each for one principal', () => {
    const { examine, unique } = webhook.proof
    assert.deepEqual(examine({ secret: vector.secret }), [])
    const short = `whsec_${Buffer.alloc(23).toString('base64')}`
    const long = `whsec_${Buffer.alloc(65).toString('base64')}`
    for (const secret of [short, long, 'whsec_', vector.secret.slice(6), `${vector.secret}?`])
      assert.deepEqual(
        examine({ secret: [other, secret] }).map(({ path }) => path),
        ['secret.1'],
      )
    assert.deepEqual(unique({ secret: other }), [{ text: other, path: 'secret' }])
    assert.deepEqual(unique({ secret: '${file:secret}' }), [])
  })

  it('lets nobody in by one changed character, and never throws', async () => {
    const { authenticate } = open({ once: async () => true })
    const fields = ['webhook-id', 'webhook-timestamp', 'webhook-signature', 'x-sluice-principal', 'body'] as const
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...fields),
        fc.nat(),
        fc.oneof(
          fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 1 }),
          fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
        ),
        async (field, position, character) => {
          const original = sent()
          const text = field === 'body' ? vector.body : (original.http?.headers[field] ?? '')
          const index = position % text.length
          const changed = text.slice(0, index) + character + text.slice(index + 1)
          fc.pre(changed !== text)
          const what =
            field === 'body' ? { body: changed, signature: vector.signature } : { headers: { [field]: changed } }
          assert.equal((await authenticate(sent(what))).kind, 'refused')
        },
      ),
      { numRuns: 2000 },
    )
    for (const last of 'BCDFGHI')
      assert.equal(
        (await authenticate(sent({ signature: vector.signature.replace(/E=$/, `${last}=`) }))).kind,
        'refused',
      )
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.constantFrom(...fields.slice(0, 4)), fc.string({ unit: 'binary' })),
        async (headers) => {
          assert.notEqual(
            (await authenticate(sent({ headers }))).kind === 'principal' && Object.keys(headers).length > 0,
            true,
          )
        },
      ),
    )
  })
})
