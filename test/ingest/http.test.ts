import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import { describe, test } from 'node:test'
import * as fc from 'fast-check'
import { createHttpDoor, type HttpDoor } from '../../src/ingest/http.ts'
import type { HttpLimits } from '../../src/ingest/http-limits.ts'
import type { Scope } from '../support/cleanup.ts'
import { until } from '../support/cleanup.ts'
import { countedMetrics, fakeAccept, fakeAccess, linesLog } from '../support/doors.ts'

const bearer = { authorization: 'Bearer d-1-secret' }

async function open(
  scope: Scope,
  limits: Partial<HttpLimits> = {},
  ready: () => boolean | Promise<boolean> = () => true,
) {
  const access = fakeAccess()
  const sink = fakeAccept()
  const metrics = countedMetrics()
  const log = linesLog()
  const door: HttpDoor = createHttpDoor({
    access: () => access,
    accept: sink.accept,
    acceptBatch: sink.acceptBatch,
    ready,
    limits,
    log,
    metrics,
  })
  await door.listen({ host: '127.0.0.1', port: 0 })
  scope.after(() => door.close(100))
  const port = door.address()?.port ?? 0
  return { door, port, access, sink, metrics, log, ask: (path: string, options: Ask = {}) => ask(port, path, options) }
}

interface Ask {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string | string[]>>
  readonly body?: string | Buffer
  readonly chunked?: boolean
}

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly json: {
    message?: string
    traceId?: string
    results?: { status: number; message?: string; traceId?: string }[]
  }
}

function ask(
  port: number,
  path: string,
  { method = 'POST', headers = bearer, body, chunked = false }: Ask,
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const length = body === undefined || chunked ? {} : { 'content-length': String(Buffer.byteLength(body)) }
  const sent = httpRequest(
    { port, host: '127.0.0.1', path, method, agent: false, headers: { ...length, ...headers } },
    (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8')
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          json: text === '' ? {} : JSON.parse(text),
        })
      })
    },
  )
  sent.on('error', reject)
  sent.end(body)
  return promise
}

/** Sends bytes as they are and gives everything that comes back until the far side closes. */
function raw(port: number, bytes: string | Uint8Array): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
  let text = ''
  socket.on('data', (chunk) => (text += chunk.toString('latin1')))
  socket.on('close', () => resolve(text))
  socket.on('error', () => {})
  return promise
}

describe('POST /topics', () => {
  test('hands the raw body over, whatever its content type, and answers like AWS', async (t) => {
    const { ask, sink } = await open(t)
    const bodies: [string, Buffer, Record<string, string>][] = [
      ['no content type', Buffer.from('{"a": 1.0}'), {}],
      ['JSON that is none', Buffer.from('{'), { 'content-type': 'application/json' }],
      ['bytes', Buffer.from([0, 255, 128]), { 'content-type': 'image/png' }],
      ['a content type that is none', Buffer.from('x'), { 'content-type': ';;;' }],
      ['nothing', Buffer.alloc(0), {}],
    ]
    for (const [what, body, headers] of bodies) {
      const answer = await ask('/topics/a/b?qos=1', { body, headers: { ...bearer, ...headers } })
      equal(answer.status, 200, what)
      deepEqual(answer.json, { message: 'OK', traceId: `id-${sink.taken.length}` })
      deepEqual(sink.taken.at(-1)?.publish, { topic: 'a/b', payload: body, qos: 1, retain: false })
    }
    const speaker = sink.taken[0]?.speaker
    deepEqual(
      [speaker?.principal.name, speaker?.protocol, speaker?.clientId, speaker?.sourceIp],
      ['d-1', 'http', undefined, '127.0.0.1'],
    )
  })

  test('says who it is in no header', async (t) => {
    const { ask } = await open(t)
    const { headers } = await ask('/topics/a')
    deepEqual([headers.server, headers['x-powered-by']], [undefined, undefined])
  })

  test('decodes the topic once', async (t) => {
    const { ask, sink } = await open(t)
    const topics: [string, string][] = [
      ['a%2Fb', 'a/b'],
      ['a//b', 'a//b'],
      ['%24aws/rules/x', '$aws/rules/x'],
      ['caf%C3%A9', 'café'],
      ['a%252Fb', 'a%2Fb'],
      ['a%00b', 'a\0b'],
      ['a;b', 'a;b'],
      ['constructor', 'constructor'],
      ['__proto__', '__proto__'],
      ['x'.repeat(400), 'x'.repeat(400)],
      ['', ''],
    ]
    for (const [path, topic] of topics) {
      await ask(`/topics/${path}`)
      equal(sink.taken.at(-1)?.publish.topic, topic)
    }
  })

  test('refuses a topic that does not decode, in the same shape', async (t) => {
    const { ask, sink } = await open(t)
    for (const path of ['/topics/%ff', '/topics/%zz', '/topics/a%']) {
      const { status, json } = await ask(path)
      equal(status, 400, path)
      ok(typeof json.message === 'string' && typeof json.traceId === 'string' && Object.keys(json).length === 2)
    }
    equal(sink.taken.length, 0)
  })

  test('takes MQTT 5 properties as AWS has them', async (t) => {
    const { ask, sink } = await open(t)
    const users = Buffer.from('[{"deviceName":"alpha"},{"deviceName":"beta"},{"__proto__":"x"}]').toString('base64')
    const headers = {
      ...bearer,
      'x-amz-mqtt5-user-properties': users,
      'x-amz-mqtt5-payload-format-indicator': 'UTF8_DATA',
      'x-amz-mqtt5-correlation-data': 'AAEC',
      'idempotency-key': 'order-66',
    }
    const path = '/topics/a?retain=true&contentType=text%2Fplain&responseTopic=re/ply&messageExpiry=60&whatever=1'
    const { status, json } = await ask(path, { headers, body: 'x' })
    deepEqual([status, json.traceId], [200, 'order-66'])
    deepEqual(sink.taken[0]?.publish, {
      topic: 'a',
      payload: Buffer.from('x'),
      qos: 0,
      retain: true,
      id: 'order-66',
      properties: {
        contentType: 'text/plain',
        responseTopic: 're/ply',
        messageExpiryInterval: 60,
        userProperties: [
          ['deviceName', 'alpha'],
          ['deviceName', 'beta'],
          ['__proto__', 'x'],
        ],
        payloadFormatIndicator: true,
        correlationData: 'AAEC',
      },
    })
  })

  test('names the parameter or header that is wrong', async (t) => {
    const { ask, sink } = await open(t)
    const base64 = (text: string): string => Buffer.from(text).toString('base64')
    const wrong: [string, Record<string, string>, RegExp][] = [
      ['?qos=2', {}, /parameter qos must be 0 or 1/],
      ['?qos=', {}, /parameter qos/],
      ['?qos=1&qos=1', {}, /parameter qos stands there more than once/],
      ['?retain=maybe', {}, /parameter retain/],
      ['?messageExpiry=-1', {}, /parameter messageExpiry/],
      ['?messageExpiry=4294967296', {}, /parameter messageExpiry/],
      ['?messageExpiry=1e3', {}, /parameter messageExpiry/],
      ['?contentType=a%00', {}, /parameter contentType/],
      ['?responseTopic=a/%23', {}, /parameter responseTopic.*wildcard/],
      ['?responseTopic=', {}, /parameter responseTopic.*empty/],
      ['', { 'x-amz-mqtt5-user-properties': '!' }, /x-amz-mqtt5-user-properties/],
      ['', { 'x-amz-mqtt5-user-properties': base64('{"a":"b"}') }, /x-amz-mqtt5-user-properties/],
      ['', { 'x-amz-mqtt5-user-properties': base64('[{"a":"b","c":"d"}]') }, /one key/],
      ['', { 'x-amz-mqtt5-user-properties': base64('[{"a":1}]') }, /x-amz-mqtt5-user-properties/],
      ['', { 'x-amz-mqtt5-payload-format-indicator': 'utf8' }, /payload-format-indicator must be/],
      ['', { 'x-amz-mqtt5-correlation-data': 'a' }, /correlation-data/],
      ['', { 'idempotency-key': 'a b' }, /Idempotency-Key/],
      ['', { 'idempotency-key': 'x'.repeat(129) }, /Idempotency-Key/],
    ]
    for (const [query, headers, text] of wrong) {
      const { status, json } = await ask(`/topics/a${query}`, { headers: { ...bearer, ...headers }, body: 'x' })
      equal(status, 400, query)
      match(json.message ?? '', text)
    }
    equal(sink.taken.length, 0)
  })

  test('passes on what accept answers', async (t) => {
    const { ask, sink } = await open(t)
    sink.reply = ({ topic }) => {
      if (topic === 'no') return { kind: 'refused', id: 'i', status: 403, reason: 'policy', message: 'not allowed' }
      if (topic === 'fast') return { kind: 'later', id: 'i', status: 429, afterMs: 10, message: 'slow down' }
      return { kind: 'later', id: 'i', status: 503, afterMs: 2_001, message: 'away' }
    }
    for (const [topic, status, message, after] of [
      ['no', 403, 'not allowed', undefined],
      ['fast', 429, 'slow down', '1'],
      ['away', 503, 'away', '3'],
    ]) {
      const answer = await ask(`/topics/${topic}`)
      deepEqual([answer.status, answer.json, answer.headers['retry-after']], [status, { message, traceId: 'i' }, after])
    }
  })
})

describe('who may come in', () => {
  test('one text for no, unknown and wrong credentials', async (t) => {
    const { ask, sink, metrics, log } = await open(t)
    const wrong: Record<string, string | string[]>[] = [
      {},
      { authorization: '' },
      { authorization: 'Bearer' },
      { authorization: 'Bearer ' },
      { authorization: 'Basic ZDphYmM=' },
      { authorization: 'Bearer nobody-secret' },
      { authorization: 'Bearer d-1-secretx' },
      { authorization: 'Bearer d-1-secret, Bearer d-1-secret' },
      { authorization: ['Bearer d-1-secret', 'Bearer d-1-secret'] },
    ]
    for (const headers of wrong) {
      for (const path of ['/topics/a', '/messages']) {
        const answer = await ask(path, { headers, body: 'x' })
        deepEqual([answer.status, answer.json.message], [401, 'missing or wrong credentials'], JSON.stringify(headers))
        equal(answer.headers['www-authenticate'], 'Bearer')
      }
    }
    equal(sink.taken.length, 0)
    equal(metrics.total('sluice_authentications_failed_total', { door: 'http' }), wrong.length * 2)
    ok(log.lines.length > 0 && !log.lines.join().includes('d-1-secretx'), 'logged, without what was shown')
  })

  test('the scheme has no case', async (t) => {
    const { ask } = await open(t)
    equal((await ask('/topics/a', { headers: { authorization: 'bEARER   d-1-secret' } })).status, 200)
  })

  test('a stranger is answered before the body arrives', async (t) => {
    const { port } = await open(t)
    const socket = connect(port, '127.0.0.1')
    t.after(() => socket.destroy())
    let text = ''
    socket.on('data', (chunk) => (text += chunk.toString('latin1')))
    socket.write('POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n')
    await until('an answer', () => text.startsWith('HTTP/1.1 401'))
  })

  test('authentication that fails by itself is 503', async (t) => {
    const { ask, access } = await open(t)
    access.authenticate = () => Promise.reject(new Error('identity is away'))
    const { status, headers, json } = await ask('/topics/a')
    deepEqual([status, headers['retry-after']], [503, '2'])
    ok(!json.message?.includes('away'))
  })
})

describe('limits', () => {
  test('an oversize body is 413, by its length or as it comes', async (t) => {
    const { ask, sink } = await open(t, { payload: 100, batchBytes: 200 })
    equal((await ask('/topics/a', { body: 'x'.repeat(100) })).status, 200)
    for (const chunked of [false, true]) {
      const answer = await ask('/topics/a', { body: 'x'.repeat(101), chunked })
      equal(answer.status, 413)
      match(answer.json.message ?? '', /100 bytes/)
      equal((await ask('/messages', { body: `[${' '.repeat(200)}]`, chunked })).status, 413)
    }
    equal(sink.taken.length, 1)
  })

  test('bodies in hand are bounded over all clients', async (t) => {
    const { port, ask } = await open(t, { payload: 1_000, bodies: 1_500 })
    const slow = connect(port, '127.0.0.1')
    t.after(() => slow.destroy())
    slow.write(
      `POST /topics/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer d-1-secret\r\nContent-Length: 1000\r\n\r\nx`,
    )
    const full = await until('the budget is taken', async () => {
      const answer = await ask('/topics/a', { body: 'x'.repeat(900) })
      return answer.status === 503 && answer
    })
    equal(full.headers['retry-after'], '1')
    slow.destroy()
    await until('it is given back', async () => (await ask('/topics/a', { body: 'x'.repeat(900) })).status === 200)
  })

  test('bodies of strangers, which are read for their proof, take no room from others', async (t) => {
    const { port, access, ask } = await open(t, { payload: 1_000, bodies: 1_500, unprovedBodies: 1_000 })
    const authenticate = access.authenticate.bind(access)
    access.authenticate = async (presented) => {
      if (presented.http?.headers['x-signed'] === undefined) return authenticate(presented)
      await presented.http.body?.()
      return { kind: 'refused', reason: 'not signed' }
    }
    const headers = { 'x-signed': 'no' }
    for (let count = 0; count < 3; count += 1) {
      const slow = connect(port, '127.0.0.1')
      t.after(() => slow.destroy())
      slow.write(`POST /topics/a HTTP/1.1\r\nHost: x\r\nX-Signed: no\r\nContent-Length: 1000\r\n\r\nx`)
    }
    await until('strangers have no room', async () => (await ask('/topics/a', { headers, body: 'x' })).status === 503)
    equal((await ask('/topics/a', { body: 'x'.repeat(900) })).status, 200)
  })

  test('an offer of HTTP/2 is left alone', async (t) => {
    const { ask } = await open(t)
    const offer = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABkAAQ' }
    equal((await ask('/topics/a', { headers: { ...bearer, ...offer }, body: 'x' })).status, 200)
  })

  test('an encoded body is 415', async (t) => {
    const { ask } = await open(t)
    equal((await ask('/topics/a', { headers: { ...bearer, 'content-encoding': 'gzip' }, body: 'x' })).status, 415)
    equal((await ask('/topics/a', { headers: { ...bearer, 'content-encoding': 'identity' }, body: 'x' })).status, 200)
  })

  test('headers that are too large are 431, headers that dawdle 408', async (t) => {
    const { port } = await open(t, { headerBytes: 2_000, headersMs: 300 })
    const large = await raw(port, `POST /topics/a HTTP/1.1\r\nHost: x\r\nX-A: ${'x'.repeat(3_000)}\r\n\r\n`)
    match(large, /^HTTP\/1\.1 431 .*\{"message":"the request headers are too large","traceId":"[0-9a-f-]{36}"\}$/s)
    match(await raw(port, 'POST /topics/a HTTP/1.1\r\nHost: x\r\n'), /^HTTP\/1\.1 408 .*"message"/s)
  })

  test('a body that dawdles is ended', async (t) => {
    const { port, sink } = await open(t, { headersMs: 200, requestMs: 400 })
    const head =
      'POST /topics/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer d-1-secret\r\nContent-Length: 10\r\n\r\nab'
    await raw(port, head)
    equal(sink.taken.length, 0)
  })

  test('what is not HTTP gets one answer and the end', async (t) => {
    const { port, ask } = await open(t)
    match(await raw(port, 'GARBAGE\r\n\r\n'), /^HTTP\/1\.1 400 .*"the request is not valid HTTP"/s)
    const smuggled =
      'POST /topics/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
    match(await raw(port, smuggled), /^HTTP\/1\.1 400 /)
    equal((await ask('/topics/a')).status, 200)
  })

  test('random bytes never harm it', async (t) => {
    const { port, ask } = await open(t, { headersMs: 200, requestMs: 200 })
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.string({ maxLength: 100 }).map((path) => Buffer.from(`POST /topics/${path} HTTP/1.1\r\nHost: x\r\n\r\n`)),
    )
    const check = fc.asyncProperty(fc.array(bytes, { minLength: 20, maxLength: 20 }), async (all) => {
      await Promise.all(all.map((one) => Promise.race([raw(port, one), new Promise((go) => setTimeout(go, 50))])))
    })
    await fc.assert(check, { numRuns: 10 })
    equal((await ask('/topics/a')).status, 200)
  })
})

describe('other paths', () => {
  test('404 and 405 have the same shape', async (t) => {
    const { ask } = await open(t)
    for (const [method, path, status, allow] of [
      ['GET', '/', 404, undefined],
      ['POST', '/topics', 404, undefined],
      ['POST', '/things/x/shadow', 404, undefined],
      ['GET', '/topics/a', 405, 'POST'],
      ['PUT', '/messages', 405, 'POST'],
      ['PROPFIND', '/topics/a', 405, 'POST'],
      ['POST', '/healthz', 405, 'GET, HEAD'],
    ] as const) {
      const answer = await ask(path, { method, headers: {} })
      deepEqual(
        [answer.status, answer.headers.allow, Object.keys(answer.json)],
        [status, allow, ['message', 'traceId']],
        `${method} ${path}`,
      )
    }
  })

  test('health is yes, readiness is what it is told, without detail', async (t) => {
    let ready: boolean | Error = true
    const { ask } = await open(t, {}, () => {
      if (ready instanceof Error) throw ready
      return ready
    })
    const get = (path: string): Promise<Answer> => ask(path, { method: 'GET', headers: {} })
    deepEqual([(await get('/healthz')).status, (await get('/readyz')).status], [200, 200])
    ready = false
    deepEqual([(await get('/healthz')).status, (await get('/readyz')).status], [200, 503])
    ready = new Error('redis://user:secret@host is away')
    const answer = await get('/readyz')
    deepEqual([answer.status, answer.json], [503, { message: 'not ready' }])
  })
})

describe('a stop', () => {
  test('waits for the answers to what is in hand', async (t) => {
    const { door, sink, ask } = await open(t)
    sink.hold()
    const pending = ask('/topics/a', { body: 'x' })
    await until('it is in hand', () => sink.taken.length === 1)
    const closed = door.close()
    sink.release()
    equal((await pending).status, 200)
    await closed
    equal(
      await ask('/topics/a').then(
        () => 'answered',
        () => 'gone',
      ),
      'gone',
    )
  })

  test('a port in use says who has it', async (t) => {
    const { port } = await open(t)
    const log = linesLog()
    const second = createHttpDoor({
      access: () => fakeAccess(),
      accept: fakeAccept().accept,
      acceptBatch: fakeAccept().acceptBatch,
      ready: () => true,
      log,
      metrics: countedMetrics(),
    })
    const error = await second.listen({ host: '127.0.0.1', port }).catch((thrown: unknown) => thrown)
    match(
      String(error),
      new RegExp(`listen.http: 127.0.0.1:${port} is taken: port ${port} is taken by .*${process.pid}`),
    )
  })
})
