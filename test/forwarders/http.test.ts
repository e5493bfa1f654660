import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Credential } from '../../src/core/credential.ts'
import { SluiceError } from '../../src/core/errors.ts'
import type { Item } from '../../src/core/forwarder.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import { http } from '../../src/forwarders/http.ts'
import { forwarderConformance } from '../conformance/forwarder.ts'
import { makeCertificates } from '../support/certificates.ts'
import { freePort, type Scope, until } from '../support/cleanup.ts'
import { type HttpTarget, startHttpTarget } from '../support/http-target.ts'
import { itemOf, type ItemParts, itemsOf } from '../support/items.ts'
import { keepLines } from '../support/logs.ts'
import { run } from '../support/process.ts'

const secret = 'the-secret-of-the-tests'
const credential: Credential = { use: 'http', headers: async () => ({ authorization: `Bearer ${secret}` }) }

const answering = (status: number) => async (scope: Scope) => {
  const target = await startHttpTarget(scope)
  // Some far sides quote what they were sent.
  target.answer = ({ headers }) => ({ status, body: `you sent ${headers.authorization}` })
  return { settings: { url: target.url }, credential }
}

for (const batch of ['none', 'json-array', 'ndjson'] as const) {
  forwarderConformance({
    definition: http,
    async taking(scope) {
      const target = await startHttpTarget(scope)
      const arrived = () =>
        target.received.reduce((sum, { body }) => {
          if (batch === 'none') return sum + 1
          const text = body.toString()
          return sum + (batch === 'ndjson' ? text.trimEnd().split('\n').length : (JSON.parse(text) as []).length)
        }, 0)
      return { settings: { url: target.url, batch }, credential, arrived }
    },
    away: async () => ({ settings: { url: `http://127.0.0.1:${await freePort()}`, batch }, credential }),
    async hanging(scope) {
      const target = await startHttpTarget(scope)
      target.answer = () => () => {}
      return { settings: { url: target.url, batch }, credential, received: () => target.received.length > 0 }
    },
    blocked: {
      'the credential is refused': answering(401),
      'the credential may not': answering(403),
      'there is nothing at the url': answering(404),
      'the url has moved': answering(301),
      'the certificate is not one that we trust': async (scope) => {
        const target = await startHttpTarget(scope, { tls: await makeCertificates(scope) })
        return { settings: { url: target.url, batch }, credential }
      },
      'the credential would travel in clear text': async () => ({
        settings: { url: 'http://elsewhere.invalid', batch },
        credential,
      }),
      'the credential cannot be had': async (scope) => ({
        settings: { url: (await startHttpTarget(scope)).url, batch },
        credential: { use: 'http', headers: () => Promise.reject(new SluiceError('CREDENTIAL_FAILED')) },
      }),
    },
    options: { path: 'a/b', headers: { 'x-a': 'b' }, query: { q: 'a b' } },
    secrets: [secret],
  })
}

describe('http, what an answer means', () => {
  const cases: readonly [status: number, templated: boolean, expected: string][] = [
    [200, false, 'delivered'],
    [201, false, 'delivered'],
    [204, false, 'delivered'],
    [301, false, 'blocked'],
    [304, false, 'blocked'],
    [307, true, 'blocked'],
    [400, false, 'rejected'],
    [401, true, 'blocked'],
    [403, true, 'blocked'],
    [404, false, 'blocked'],
    [404, true, 'rejected'],
    [405, false, 'rejected'],
    [407, false, 'blocked'],
    [408, false, 'unanswered'],
    [409, false, 'rejected'],
    [410, false, 'rejected'],
    [413, false, 'rejected'],
    [422, true, 'rejected'],
    [425, false, 'unanswered'],
    [429, false, 'unanswered'],
    [500, false, 'answered'],
    [501, false, 'answered'],
    [502, false, 'answered'],
    [503, false, 'unanswered'],
    [504, false, 'answered'],
    [599, false, 'answered'],
  ]
  for (const [status, templated, expected] of cases) {
    it(`${status}${templated ? ', with a path of the rule' : ''}: ${expected}`, async (t) => {
      const target = await startHttpTarget(t)
      target.answer = () => ({ status })
      const [outcome] = await send(t, target, [itemOf({ with: templated ? { path: 'x' } : {} })])
      assert.equal(shape(outcome), expected)
      assert.equal(target.received.length, 1)
    })
  }

  it('honours Retry-After in seconds and as a date, within its bound', async (t) => {
    const target = await startHttpTarget(t)
    const asked = async (value: string) => {
      target.answer = () => ({ status: 503, headers: { 'retry-after': value } })
      const [outcome] = await send(t, target, [itemOf()], { maxRetryAfter: '10m' })
      return outcome?.kind === 'retry' ? outcome.afterMs : undefined
    }
    assert.equal(await asked('120'), 120_000)
    assert.equal(await asked('99999999999999999999'), 600_000)
    assert.equal(await asked('Wed, 21 Oct 2099 07:28:00 GMT'), 600_000)
    assert.equal(await asked('Wed, 21 Oct 2015 07:28:00 GMT'), 0)
    for (const nonsense of ['-5', '1.5', 'soon', '2099-10-21', '']) assert.equal(await asked(nonsense), undefined)
  })

  it('quotes the beginning of an answer on one line, without what a terminal obeys', async (t) => {
    const target = await startHttpTarget(t)
    target.answer = () => ({ status: 422, body: `celsius\r\n\u001b[31m\u009bis ${'x'.repeat(5_000)}` })
    const [outcome] = await send(t, target, [itemOf()])
    assert.ok(outcome?.kind === 'rejected')
    assert.match(outcome.reason, /^the far side answered 422: celsius \[31m is x{100,200}…$/)
  })

  it('reads no more of an answer than it must, and the status still counts', async (t) => {
    const target = await startHttpTarget(t)
    let written = 0
    target.answer = () => (response) => {
      response.writeHead(200)
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536))) written += 65_536
        response.once('drain', more)
      }
      response.on('error', () => {})
      more()
    }
    assert.deepEqual((await send(t, target, [itemOf()])).map(shape), ['delivered'])
    assert.ok(written < 64 * 1024 ** 2)
  })

  it('is delivered when the status was good and the rest of the answer never comes', async (t) => {
    const target = await startHttpTarget(t)
    target.answer = () => (response) => response.writeHead(200, { 'content-length': '10' }).write('half')
    assert.deepEqual((await send(t, target, [itemOf()], { timeout: '300ms' })).map(shape), ['delivered'])
  })

  it('is unanswered when the connection ends, and when there is no answer in time', async (t) => {
    const target = await startHttpTarget(t)
    target.answer = () => (response) => response.destroy()
    assert.deepEqual((await send(t, target, [itemOf()])).map(shape), ['unanswered'])
    target.answer = () => () => {}
    assert.deepEqual(await send(t, target, [itemOf()], { timeout: '200ms' }), [
      { kind: 'retry', answered: false, reason: 'no answer within 200 ms' },
    ])
  })

  it('does not follow a redirect, and says where it points to', async (t) => {
    const target = await startHttpTarget(t)
    const other = await startHttpTarget(t)
    target.answer = () => ({ status: 307, headers: { location: other.url } })
    const [outcome] = await send(t, target, [itemOf()])
    assert.ok(outcome?.kind === 'blocked' && outcome.reason.includes(other.url))
    assert.equal(other.received.length, 0)
  })
})

describe('http, what is sent', () => {
  it('sends a payload byte for byte, with the key of the message', async (t) => {
    const target = await startHttpTarget(t)
    const payload = Buffer.from('{ "big": 12345678901234567890,\n "b": 1 }')
    await send(t, target, [itemOf({ id: 'm-1', payload })], { url: `${target.url}/in?k=v`, method: 'PUT' })
    const [request] = target.received
    assert.deepEqual([request?.method, request?.url, request?.body], ['PUT', '/in?k=v', payload])
    assert.equal(request?.headers['idempotency-key'], 'm-1:r:0')
    assert.equal(request?.headers['content-type'], 'application/json')
    assert.equal(request?.headers['content-length'], String(payload.length))
  })

  it('hashes a key that a header cannot hold', async (t) => {
    const target = await startHttpTarget(t)
    await send(t, target, [itemOf({ key: 'm-1:Überhitzung:0' })])
    assert.match(String(target.received[0]?.headers['idempotency-key']), /^[0-9a-f]{64}$/)
  })

  it('says the type that the publisher said, JSON where it is, and bytes otherwise', async (t) => {
    const target = await startHttpTarget(t)
    const typeOf = async (parts: ItemParts) => {
      await send(t, target, [itemOf(parts)])
      return target.received.at(-1)?.headers['content-type']
    }
    assert.equal(
      await typeOf({ payload: '1', properties: { contentType: 'application/senml+json' } }),
      'application/senml+json',
    )
    assert.equal(await typeOf({ payload: '{}', properties: { contentType: 'a/b\r\nX-Evil: 1' } }), 'application/json')
    assert.equal(
      await typeOf({ payload: 'hello', properties: { contentType: 'nonsense' } }),
      'application/octet-stream',
    )
    assert.equal(
      await typeOf({ payload: '{}', selected: true, properties: { contentType: 'text/plain' } }),
      'application/json',
    )
    assert.equal(await typeOf({ payload: '1', with: { headers: { 'Content-Type': 'text/csv' } } }), 'text/csv')
    assert.equal(target.received.at(-1)?.headers['x-evil'], undefined)
  })

  it("adds the rule's path, query and headers to the worker's; the rule's win", async (t) => {
    const target = await startHttpTarget(t)
    const options = { path: 'rooms/7 & 8/é', query: { n: 1, q: 'a b' }, headers: { 'x-a': 'rule', 'x-c': 'c' } }
    await send(t, target, [itemOf({ with: options })], {
      url: `${target.url}/base/?k=v`,
      headers: { 'X-A': 'worker', 'x-b': 'b' },
    })
    const [request] = target.received
    assert.equal(request?.url, '/base/rooms/7%20&%208/%C3%A9?k=v&n=1&q=a+b')
    assert.deepEqual([request?.headers['x-a'], request?.headers['x-b'], request?.headers['x-c']], ['rule', 'b', 'c'])
  })

  it('shows the credential, and no rule can show another', async (t) => {
    const target = await startHttpTarget(t)
    await send(t, target, [itemOf()], {}, credential)
    assert.equal(target.received[0]?.headers.authorization, `Bearer ${secret}`)
    const reserved = [
      'Authorization',
      'host',
      'Cookie',
      'Transfer-Encoding',
      'content-length',
      'connection',
      'Idempotency-Key',
    ]
    for (const name of reserved) {
      assert.equal(http.with.safeParse({ headers: { [name]: 'x' } }).success, false, name)
      assert.equal(http.settings.safeParse({ url: target.url, headers: { [name]: 'x' } }).success, false, name)
    }
  })

  it('keeps connections between requests', async (t) => {
    const target = await startHttpTarget(t)
    const forwarder = await open(t, target)
    for (let round = 0; round < 5; round += 1) await forwarder(itemsOf(2))
    assert.equal(target.received.length, 10)
    assert.ok(target.connections() <= 2, `${target.connections()} connections`)
  })

  it('has so many requests in flight, and no more', async (t) => {
    const target = await startHttpTarget(t)
    const waiting: (() => void)[] = []
    target.answer = () => new Promise((resolve) => waiting.push(() => resolve({ status: 200 })))
    const sending = send(t, target, itemsOf(7), { parallel: 3 })
    for (let left = 7; left > 0; left -= 1) {
      await until('a full house', () => waiting.length === Math.min(3, left))
      waiting.shift()?.()
    }
    assert.equal((await sending).length, 7)
  })

  it('trusts the authority that the worker names, and only that', async (t) => {
    const tls = await makeCertificates(t)
    const target = await startHttpTarget(t, { tls })
    const trusting = await send(t, target, [itemOf()], { tls: { ca: tls.ca } })
    assert.deepEqual(trusting.map(shape), ['delivered'])
    const other = await makeCertificates(t)
    assert.deepEqual((await send(t, target, [itemOf()], { tls: { ca: other.ca } })).map(shape), ['blocked'])
    const named = { tls: { ca: tls.ca, servername: 'elsewhere.example' } }
    assert.deepEqual((await send(t, target, [itemOf()], named)).map(shape), ['blocked'])
  })

  it('goes straight there whatever the environment says of proxies', async (t) => {
    const target = await startHttpTarget(t)
    const proxy = await startHttpTarget(t)
    const program = `
      const { http } = await import('./src/forwarders/http.ts')
      const signal = new AbortController().signal
      const forwarder = await http.open(http.settings.parse({ url: '${target.url}' }), { signal })
      const item = { key: 'k', payload: Buffer.from('1'), with: {} }
      console.log(JSON.stringify(await forwarder.send([item], signal)))
      await forwarder.close()`
    const proxies = { HTTP_PROXY: proxy.url, http_proxy: proxy.url, HTTPS_PROXY: proxy.url, NODE_USE_ENV_PROXY: '1' }
    const child = run(t, process.execPath, ['--input-type=module-typescript', '-e', program], {
      env: { PATH: process.env['PATH'], ...proxies },
    })
    assert.equal(await child.ended(), 0, child.output())
    assert.equal(child.output().trim(), '[{"kind":"delivered"}]')
    assert.deepEqual([target.received.length, proxy.received.length], [1, 0])
  })
})

describe('http, when much fails', () => {
  it('stops after as many as are in flight got no answer; the rest is unanswered too', async (t) => {
    const target = await startHttpTarget(t)
    target.answer = () => ({ status: 503, headers: { 'retry-after': '7' } })
    const outcomes = await send(t, target, itemsOf(50), { parallel: 4 })
    assert.deepEqual(outcomes.map(shape), Array(50).fill('unanswered'))
    const wishes = outcomes.filter((outcome) => outcome.kind === 'retry' && outcome.afterMs === 7_000)
    assert.equal(
      wishes.length,
      target.received.length,
      'a wait is asked for by an answer; nobody answered about the rest',
    )
    assert.ok(target.received.length < 10, `${target.received.length} requests`)
  })

  it('goes on past a message that the far side chokes on', async (t) => {
    const target = await startHttpTarget(t)
    target.answer = ({ body }) => (body.toString() === '{"n":0}' ? (response) => response.destroy() : { status: 200 })
    const outcomes = await send(t, target, itemsOf(20), { parallel: 4 })
    assert.deepEqual(outcomes.map(shape), ['unanswered', ...Array(19).fill('delivered')])
  })

  it('stops at once when it is blocked', async (t) => {
    const target = await startHttpTarget(t)
    target.answer = () => ({ status: 401 })
    assert.deepEqual((await send(t, target, itemsOf(50), { parallel: 1 })).map(shape), Array(50).fill('blocked'))
    assert.equal(target.received.length, 1)
  })
})

describe('http, several messages to a request', () => {
  it('makes one JSON array, or lines of JSON, of them', async (t) => {
    const target = await startHttpTarget(t)
    const items = [
      itemOf({ id: 'a', payload: '{ "n": 1.10,\n"s": "a b" }' }),
      itemOf({ id: 'b', payload: Buffer.from([255]) }),
      itemOf({ id: 'c', payload: '12345678901234567890' }),
    ]
    const parts = ['{"n":1.10,"s":"a b"}', '{"base64":"/w=="}', '12345678901234567890']
    await send(t, target, items, { batch: 'json-array' })
    await send(t, target, items, { batch: 'ndjson' })
    assert.deepEqual(
      target.received.map(({ body, headers }) => [headers['content-type'], body.toString()]),
      [
        ['application/json', `[${parts.join(',')}]`],
        ['application/x-ndjson', `${parts.join('\n')}\n`],
      ],
    )
  })

  it('gives the same messages the same key, and others another', async (t) => {
    const target = await startHttpTarget(t)
    const settings = { batch: 'json-array' }
    for (const count of [3, 3, 2]) await send(t, target, itemsOf(count), settings)
    const [first, second, third] = target.received.map(({ headers }) => headers['idempotency-key'])
    assert.equal(first, second)
    assert.notEqual(first, third)
  })

  it('cuts by messages, by bytes, and by where they go', async (t) => {
    const target = await startHttpTarget(t)
    const sizes = async (items: readonly Item[], settings: object) => {
      target.received.length = 0
      await send(t, target, items, { batch: 'json-array', parallel: 1, ...settings })
      return target.received.map(({ body }) => (JSON.parse(body.toString()) as []).length)
    }
    assert.deepEqual(await sizes(itemsOf(5), { batchMessages: 2 }), [2, 2, 1])
    assert.deepEqual(
      await sizes(itemsOf(4, { payload: Buffer.from(`"${'x'.repeat(498)}"`) }), { batchBytes: 1500 }),
      [2, 2],
    )
    const paths = ['a', 'b', 'a', 'b', 'a'].map((path, index) => itemOf({ id: String(index), with: { path } }))
    assert.deepEqual(await sizes(paths, {}), [3, 2])
  })

  it('says which messages one answer refused together, and sends none of them again', async (t) => {
    const target = await startHttpTarget(t)
    target.answer = ({ url }) => ({ status: url === '/c' ? 200 : 422 })
    const items = ['a', 'a', 'b', 'b', 'c', 'd'].map((path, n) =>
      itemOf({ id: `${n}`, payload: `${n}`, with: { path } }),
    )
    const outcomes = await send(t, target, items, { batch: 'ndjson' })
    assert.deepEqual(outcomes.map(shape), [...Array(4).fill('rejected'), 'delivered', 'rejected'])
    const together = outcomes.map((outcome) => (outcome.kind === 'rejected' ? outcome.together : undefined))
    assert.ok(together[0] !== undefined && together[0] === together[1])
    assert.ok(together[2] !== undefined && together[2] === together[3] && together[2] !== together[0])
    assert.equal(together[5], undefined, 'it was alone')
    assert.equal(target.received.length, 4)
  })

  it('refuses none together where each message has a request of its own', async (t) => {
    const target = await startHttpTarget(t)
    target.answer = () => ({ status: 422 })
    const outcomes = await send(t, target, itemsOf(8))
    assert.ok(outcomes.every((outcome) => outcome.kind === 'rejected' && outcome.together === undefined))
    assert.equal(target.received.length, 8)
  })
})

describe('http, settings', () => {
  it('refuses urls that carry a credential or lead nowhere', () => {
    for (const url of ['ftp://h/', 'https://user:pass@h/', 'https://h/#x', 'h/x', '']) {
      assert.equal(http.settings.safeParse({ url }).success, false, url)
    }
  })

  it('refuses tls beside http://', () => {
    const settings = http.settings.parse({ url: 'http://127.0.0.1', tls: {} })
    assert.deepEqual(
      http.examine?.(settings).map(({ path }) => path),
      ['tls'],
    )
  })

  it('refuses header values that begin another header', () => {
    for (const value of ['a\r\nb: c', 'a\nb', 'a\0', ' a', 'é', 'a\u007f']) {
      assert.equal(http.with.safeParse({ headers: { x: value } }).success, false, JSON.stringify(value))
    }
  })

  it('sends a credential in clear text only when told to', async () => {
    const settings = http.settings.parse({ url: 'http://far.invalid' })
    const context = { credential, worker: 'w', signal: new AbortController().signal, log: keepLines() }
    await assert.rejects(http.open(settings, context), /would go to far\.invalid without TLS/)
    await (await http.open({ ...settings, insecure: true }, context)).close()
  })
})

async function open(scope: Scope, target: HttpTarget, more: object = {}, as?: Credential) {
  const settings = http.settings.parse({ url: target.url, ...more })
  const signal = new AbortController().signal
  const context = { worker: 'w', signal, log: keepLines(), ...(as !== undefined && { credential: as }) }
  const forwarder = await http.open(settings, context)
  scope.after(() => forwarder.close())
  return (items: readonly Item[]) =>
    forwarder.send(
      items.map((item) => ({ ...item, with: http.with.parse(item.with) })),
      signal,
    )
}

async function send(scope: Scope, target: HttpTarget, items: readonly Item[], more: object = {}, as?: Credential) {
  return (await open(scope, target, more, as))(items)
}

function shape(outcome: Outcome | undefined): string {
  if (outcome?.kind !== 'retry') return outcome?.kind ?? 'none'
  return outcome.answered ? 'answered' : 'unanswered'
}
