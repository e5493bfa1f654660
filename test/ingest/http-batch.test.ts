import { deepEqual, equal, match, ok, throws } from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as fc from 'fast-check'
import { createHttpDoor } from '../../src/ingest/http.ts'
import { type BatchItem, readBatch } from '../../src/ingest/http-batch.ts'
import { HttpRefusal } from '../../src/ingest/http-refusal.ts'
import type { Scope } from '../support/cleanup.ts'
import { countedMetrics, fakeAccept, fakeAccess, linesLog } from '../support/doors.ts'

const lines = 'application/x-ndjson'

function read(text: string | Buffer, type?: string, most = 1_000): BatchItem[] {
  return readBatch(Buffer.from(text), type, most)
}

function payloads(items: readonly BatchItem[]): string[] {
  return items.map((item) => ('publish' in item ? item.publish.payload.toString('utf8') : `! ${item.problem}`))
}

function problem(text: string): string {
  const [item] = read(text, lines)
  return item !== undefined && 'problem' in item ? item.problem : 'none'
}

describe('a batch', () => {
  test('is an array or lines, by content type and then by its first character', () => {
    const array = '\n [{"topic":"a","payload":1},{"topic":"b","payload":2}] '
    const ndjson = '{"topic":"a","payload":1}\r\n\n{"topic":"b","payload":2}\n'
    for (const [text, type] of [
      [array, undefined],
      [array, 'application/json; charset=utf-8'],
      [array, 'text/plain'],
      [ndjson, undefined],
      [ndjson, 'application/X-NDJSON'],
      [ndjson, 'text/plain'],
    ] as const) {
      deepEqual(payloads(read(text, type)), ['1', '2'])
    }
    deepEqual([read('[]'), read('', lines), read('\n\n')], [[], [], []])
  })

  test('sends a JSON value as it is written and a string as its characters', () => {
    const written = ['{ "b":1.0, "a" : 12345678901234567890.10 }', '[1,  2]', '-0.0e-1', 'true', 'null', '""']
    const items = read(written.map((payload) => `{"topic":"t","payload": ${payload} }`).join('\n'), lines)
    deepEqual(payloads(items), [...written.slice(0, 5), ''])
    deepEqual(payloads(read('[{"topic":"t","payload":"{\\"a\\":\\u0031}"}]')), ['{"a":1}'])
    deepEqual(payloads(read('[{"topic":"t","payloadBase64":"aGk="}]')), ['hi'])
  })

  test('carries every field', () => {
    const properties = {
      contentType: 'text/plain',
      responseTopic: 'r',
      correlationData: 'AAEC',
      payloadFormatIndicator: true,
      messageExpiryInterval: 5,
      userProperties: [['a', 'b']],
    }
    const all = { topic: 't', payload: 'x', thing: 'd-9', clientId: 'c-9', qos: 1, id: 'i', properties }
    deepEqual(read(JSON.stringify(all)), [{ publish: { ...all, payload: Buffer.from('x'), retain: false } }])
  })

  test('says what is wrong with a message, and where', () => {
    for (const [text, expected] of [
      ['{"topic":"t","payload":1', /^line 1: not JSON/],
      ['3', /^line 1: a message is a JSON object/],
      ['{"payload":1}', /topic is missing/],
      ['{"topic":1,"payload":1}', /topic must be text/],
      ['{"topic":"t"}', /payload or payloadBase64 is missing/],
      ['{"topic":"t","payload":1,"payloadBase64":""}', /exclude each other/],
      ['{"topic":"t","payloadBase64":"a"}', /payloadBase64 must be base64/],
      ['{"topic":"t","payload":"\\ud800"}', /not well-formed Unicode/],
      ['{"topic":"t","payload":1,"retain":true}', /unknown key "retain"/],
      ['{"topic":"t","payload":1,"__proto__":{}}', /unknown key "__proto__"/],
      ['{"topic":"t","payload":1,"p\\u0061yload":2}', /payload stands there twice/],
      ['{"topic":"t","payload":1,"qos":2}', /qos must be 0 or 1/],
      ['{"topic":"t","payload":1,"qos":"1"}', /qos must be 0 or 1/],
      ['{"topic":"t","payload":1,"thing":""}', /thing must be non-empty text/],
      ['{"topic":"t","payload":1,"thing":null}', /thing must be non-empty text/],
      ['{"topic":"t","payload":1,"clientId":"\\u0000"}', /clientId must be/],
      ['{"topic":"t","payload":1,"properties":[]}', /properties must be an object/],
      ['{"topic":"t","payload":1,"properties":{"constructor":1}}', /unknown key "properties.constructor"/],
      ['{"topic":"t","payload":1,"properties":{"contentType":1}}', /properties.contentType has the wrong type/],
      ['{"topic":"t","payload":1,"properties":{"userProperties":[{"a":"b"}]}}', /userProperties has the wrong type/],
      ['{"topic":"t","payload":1,"properties":{"messageExpiryInterval":1.5}}', /messageExpiryInterval must be a whole/],
    ] as const) {
      match(problem(text), expected, text)
    }
    const mixed = read(
      Buffer.concat([Buffer.from('{"topic":"t","payload":1}\n\nx\n'), Buffer.from([0xff, 0x0a])]),
      lines,
    )
    deepEqual(payloads(mixed), [
      '1',
      '! line 3: not JSON: Unexpected token \'x\', "x" is not valid JSON',
      '! line 4: not UTF-8',
    ])
    match(payloads(read('[{"topic":"t","payload":1},3]'))[1] ?? '', /^! message 2: /)
  })

  test('that is not what it says, or too many, is refused whole', () => {
    const refused = (text: string | Buffer, type: string | undefined, status: number): void =>
      throws(
        () => read(text, type, 2),
        (error) => error instanceof HttpRefusal && error.status === status,
      )
    refused('{"topic":"t","payload":1}', 'application/json', 400)
    refused('[{]', undefined, 400)
    refused(Buffer.from([0x5b, 0xff, 0x5d]), undefined, 400)
    refused('[1,2,3]', undefined, 413)
    refused('1\n2\n3', lines, 413)
  })

  test('random bytes and texts never throw anything else', () => {
    const bytes = fc.oneof(
      fc.uint8Array(),
      fc.json().map((text) => Buffer.from(text)),
      fc
        .array(fc.record({ topic: fc.jsonValue(), payload: fc.jsonValue(), properties: fc.jsonValue() }), {
          maxLength: 3,
        })
        .map((all) => Buffer.from(JSON.stringify(all))),
    )
    fc.assert(
      fc.property(bytes, fc.constantFrom(undefined, lines, 'application/json'), (body, type) => {
        try {
          readBatch(Buffer.from(body), type, 10)
        } catch (error) {
          ok(error instanceof HttpRefusal, String(error))
        }
      }),
      { numRuns: 2_000 },
    )
  })

  test('a payload comes out byte for byte, however it is written', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(0, 1, 3), (value, space) => {
        fc.pre(typeof value !== 'string')
        const written = JSON.stringify(value, null, space)
        deepEqual(payloads(read(`[{"payload":${written},"topic":"t"}]`)), [written])
      }),
    )
  })
})

describe('POST /messages', () => {
  async function open(scope: Scope, batchMessages = 1_000) {
    const sink = fakeAccept()
    const door = createHttpDoor({
      access: () => fakeAccess(),
      accept: sink.accept,
      acceptBatch: (...asked) => sink.acceptBatch(...asked),
      ready: () => true,
      limits: { batchMessages },
      log: linesLog(),
      metrics: countedMetrics(),
    })
    await door.listen({ host: '127.0.0.1', port: 0 })
    scope.after(() => door.close(100))
    const url = `http://127.0.0.1:${door.address()?.port}/messages`
    const send = async (body: string, type = lines) => {
      const response = await fetch(url, {
        method: 'POST',
        headers: { authorization: 'Bearer d-1-secret', 'content-type': type },
        body,
      })
      return {
        status: response.status,
        after: response.headers.get('retry-after'),
        json: await response.json(),
      }
    }
    return { sink, send }
  }

  test('answers for each message, 200 when none could come again', async (t) => {
    const { sink, send } = await open(t)
    sink.reply = ({ topic }) =>
      topic === 'no' ? { kind: 'refused', id: 'i', status: 403, reason: 'policy', message: 'not allowed' } : undefined
    const { status, json } = await send(
      '{"topic":"a","payload":1}\n{"topic":"no","payload":1}\nx\n{"topic":"b","payload":1,"id":"mine"}\n',
    )
    equal(status, 200)
    deepEqual(json, {
      results: [
        { status: 200, traceId: 'id-1' },
        { status: 403, message: 'not allowed' },
        { status: 400, message: 'line 3: not JSON: Unexpected token \'x\', "x" is not valid JSON' },
        { status: 200, traceId: 'mine' },
      ],
    })
  })

  test('503 with the same body when some could be accepted later', async (t) => {
    const { sink, send } = await open(t)
    sink.reply = ({ topic }) =>
      topic === 'a'
        ? undefined
        : {
            kind: 'later',
            id: 'i',
            status: topic === 'b' ? 429 : 503,
            afterMs: topic === 'b' ? 10 : 4_500,
            message: topic,
          }
    const { status, after, json } = await send(
      '[{"topic":"a","payload":1},{"topic":"b","payload":1},{"topic":"c","payload":1}]',
      'application/json',
    )
    deepEqual([status, after], [503, '5'])
    deepEqual(json, {
      results: [
        { status: 200, traceId: 'id-1' },
        { status: 429, message: 'b' },
        { status: 503, message: 'c' },
      ],
    })
  })

  test('the status is the refusals’ where nothing came in, and 200 where anything did', async (t) => {
    const { sink, send } = await open(t)
    sink.reply = ({ topic }) =>
      topic === 'no' ? { kind: 'refused', id: 'i', status: 403, reason: 'policy', message: 'not allowed' } : undefined
    equal((await send('{"topic":"no","payload":1}\n{"topic":"no","payload":1}')).status, 403)
    equal((await send('{"topic":"no","payload":1}\nx')).status, 400)
    equal((await send('x')).status, 400)
    equal((await send('{"topic":"no","payload":1}\n{"topic":"a","payload":1}')).status, 200)
    equal((await send('[]', 'application/json')).status, 200)
  })

  test('one answer for all where none was taken', async (t) => {
    const { sink, send } = await open(t)
    sink.acceptBatch = async () => ({
      kind: 'whole',
      answer: { kind: 'later', id: 'i', status: 429, afterMs: 3_100, message: 'over the limit' },
    })
    const { status, after, json } = await send('{"topic":"a","payload":1}')
    deepEqual([status, after, json], [429, '4', { message: 'over the limit', traceId: 'i' }])
  })

  test('hands all over in order before the first answer', async (t) => {
    const { sink, send } = await open(t)
    sink.hold()
    const sent = send(Array.from({ length: 50 }, (_, index) => `{"topic":"t/${index}","payload":${index}}`).join('\n'))
    while (sink.taken.length < 50) await new Promise((go) => setTimeout(go, 5))
    deepEqual(
      sink.taken.map(({ publish }) => publish.topic),
      Array.from({ length: 50 }, (_, index) => `t/${index}`),
    )
    sink.release()
    equal((await sent).status, 200)
  })

  test('over the limits nothing is taken', async (t) => {
    const { sink, send } = await open(t, 2)
    const { status, json } = await send('[1,2,3]', 'application/json')
    equal(status, 413)
    match(JSON.stringify(json), /^\{"message":"more than the 2 messages.*","traceId":"/)
    equal((await send(`[${' '.repeat(8 * 1024 ** 2)}]`)).status, 413)
    equal(sink.taken.length, 0)
  })
})
