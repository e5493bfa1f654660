import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compileRuleExpression } from '../../src/rules/rule-expression.ts'
import { Subject } from '../../src/rules/subject.ts'
import { message } from '../support/rules.ts'

const full = message('{"a":1}', {
  topic: 'plant//7/temp',
  clientId: 'c-1',
  thing: 'd-1',
  retain: true,
  properties: {
    contentType: 'application/json',
    messageExpiryInterval: 30,
    userProperties: [
      ['site', 'hq'],
      ['tag', 'x'],
      ['tag', 'y'],
      ['tupleStream', 'true'],
      ['responseTopic', 'not the standard one'],
    ],
  },
})
const bare = message(Buffer.from([0xff, 0x00]))

const ask = async (text: string, of = full) => {
  const value = await compileRuleExpression(text).evaluate(new Subject(of))
  return value === undefined ? undefined : (JSON.parse(JSON.stringify(value)) as unknown)
}

describe('a rule asks a message', () => {
  for (const [text, expected, without] of [
    ['$topic()', 'plant//7/temp', 'a/b'],
    ['$topic(1)', 'plant', 'a'],
    ['$topic(2)', '', 'b'],
    ['$topic(5)', undefined, undefined],
    ['$topic(0)', undefined, undefined],
    ['$topic(-1)', undefined, undefined],
    ['$topic(1.5)', undefined, undefined],
    ['$clientId()', 'c-1', undefined],
    ['$principal()', 'p', 'p'],
    ['$thing()', 'd-1', undefined],
    ['$timestamp()', 1_700_000_000_123, 1_700_000_000_123],
    ['$traceId()', 'm-1', 'm-1'],
    ['$qos()', 1, 1],
    ['$retain()', true, false],
    ['$payload()', '{"a":1}', undefined],
    ["$payload('base64')", 'eyJhIjoxfQ==', '/wA='],
    ["$encode($payload(), 'base64')", 'eyJhIjoxfQ==', undefined],
    ["$encode($, 'base64')", 'eyJhIjoxfQ==', undefined],
    ["$decode('w6k=', 'base64')", 'é', 'é'],
    ["$properties('contentType')", 'application/json', undefined],
    ["$properties('responseTopic')", undefined, undefined],
    ["$properties('site')", 'hq', undefined],
    ["$properties('tag')", ['x', 'y'], undefined],
    ["$properties('__proto__')", undefined, undefined],
    ["$properties().userProperties[name = 'site'].value", 'hq', undefined],
    ['$properties().messageExpiryInterval', 30, undefined],
    ['$map([1, 3], $topic)', ['plant', '7'], 'a'],
  ] as const) {
    test(text, async () => {
      deepEqual(await ask(text), expected)
      deepEqual(await ask(text, bare), without)
    })
    // The same call as part of something else goes through jsonata.
    test(`[${text}]`, async () => {
      deepEqual(await ask(`{ "v": ${text} }`), expected === undefined ? {} : { v: expected })
    })
  }

  test('$newuuid() is another each time', async () => {
    const uuids = (await ask('[$newuuid(), $newuuid()]')) as string[]
    match(uuids[0] ?? '', /^[0-9a-f-]{36}$/)
    equal(new Set(uuids).size, 2)
  })

  test('user properties make no fields, so they cannot pass for something of jsonata', async () => {
    deepEqual(await ask('($site := 1; $properties().{ "s": $site })'), { s: 1 })
  })

  for (const text of [
    "$payload('hex')",
    "$encode('a', 'hex')",
    "$decode('a', 'hex')",
    "$decode('!', 'base64')",
    "$decode('/w==', 'base64')",
  ]) {
    test(`${text} fails`, () => rejects(ask(text), { code: 'EXPRESSION_FAILED' }))
    test(`{ "v": ${text} } fails`, () => rejects(ask(`{ "v": ${text} }`), { code: 'EXPRESSION_FAILED' }))
  }
})

test('a message cannot shadow what a rule has named', async () => {
  const hostile = message({ tupleStream: true, '@': { celsius: 31 }, limit: 1_000, thing: 'd-2' })
  await rejects(ask('($limit := 30; { "hot": celsius > $limit })', hostile), /has a field "tupleStream"/)
})

test('messages at the same time keep to themselves', async () => {
  const expression = compileRuleExpression('{ "t": $topic(1), "a": a }')
  const subjects = Array.from({ length: 100 }, (_, a) => new Subject(message({ a }, { topic: `t${a}/x` })))
  const results = await Promise.all(subjects.map((subject) => expression.evaluate(subject)))
  deepEqual(
    JSON.parse(JSON.stringify(results)),
    subjects.map((_, a) => ({ t: `t${a}`, a })),
  )
})
