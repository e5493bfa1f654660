import { deepEqual, equal } from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { RuleDefinition, RuleTest } from '../../src/core/rule.ts'
import { runRuleTests } from '../../src/rules/rule-test.ts'
import { rule, ruleTest } from '../support/rules.ts'

const hot = rule({
  name: 'hot',
  from: ['rooms/+/climate'],
  where: 'celsius > 30',
  select: '{ "room": $topic(2), "celsius": celsius, "at": $timestamp(), "tags": tags }',
  to: [{ worker: 'alerts' }, { worker: 'archive' }],
})
const topic = 'rooms/7/climate'

async function problems(
  definition: RuleDefinition,
  given: RuleTest['given'],
  expect: RuleTest['expect'],
): Promise<readonly string[]> {
  const [result] = await runRuleTests([{ ...definition, tests: [ruleTest(given, expect)] }])
  equal(result?.passed, result?.problems.length === 0)
  return result?.problems ?? ['no result']
}

describe('a test of a rule', () => {
  const payload = { celsius: 31, tags: ['a', 'b'] }
  const select = { room: '7', celsius: 31, at: { $any: 'number' }, tags: ['a', { $any: 'string' }] }

  for (const [what, expect] of [
    ['everything', { match: true, select, to: ['alerts', 'archive'] }],
    ['what is left out is not looked at', { match: true }],
    ['workers only', { to: ['alerts', 'archive'] }],
    [
      'any of a type',
      {
        select: {
          room: { $any: 'string' },
          celsius: { $any: 'number' },
          at: { $any: 'number' },
          tags: { $any: 'array' },
        },
      },
    ],
    ['any object', { select: { $any: 'object' } }],
  ] as const) {
    test(`passes: ${what}`, async () => deepEqual(await problems(hot, { topic, payload }, expect), []))
  }

  for (const [expect, ...expected] of [
    [{ select: { ...select, celsius: 32 } }, 'select.celsius: expected 32, got 31'],
    [{ select: { ...select, tags: ['a'] } }, 'select.tags: expected 1 items, got 2: ["a","b"]'],
    [{ select: { ...select, tags: ['a', 'c'] } }, 'select.tags.1: expected "c", got "b"'],
    [{ select: { ...select, more: null } }, 'select.more: expected null, and it is missing'],
    [{ select: { room: '7', celsius: 31, at: { $any: 'number' } } }, 'select.tags: not expected: ["a","b"]'],
    [{ select: { ...select, room: { $any: 'number' } } }, 'select.room: expected any number, got "7"'],
    [{ select: 5 }, /^select: expected 5, got \{"room":"7"/],
    [{ to: ['alerts'] }, 'to: expected alerts, got alerts, archive'],
    [{ to: [] }, 'to: expected nobody, got alerts, archive'],
    [{ match: false }, 'expected the rule to leave the message alone; it went to alerts, archive'],
    [{ error: 'x' }, 'expected the rule to fail with "x"; it went to alerts, archive'],
    [
      { select: { ...select, celsius: 1 }, to: ['x'] },
      'select.celsius: expected 1, got 31',
      'to: expected x, got alerts, archive',
    ],
  ] as const) {
    test(`fails: ${JSON.stringify(expect)}`, async () => {
      const found = await problems(hot, { topic, payload }, expect)
      equal(found.length, expected.length)
      for (const [index, each] of expected.entries()) {
        if (typeof each === 'string') equal(found[index], each)
        else equal(each.test(found[index] ?? ''), true)
      }
    })
  }

  test('sees that a rule does not take the message', async () => {
    deepEqual(await problems(hot, { topic, payload: { celsius: 3 } }, { match: false }), [])
    deepEqual(await problems(hot, { topic: 'other', payload }, { match: false }), [])
    deepEqual(await problems(hot, { topic, payload: { celsius: 3 } }, { to: ['alerts'] }), ['where did not hold'])
    deepEqual(await problems(hot, { topic: 'other', payload }, { match: true }), [
      'no topic filter of the rule matches the topic',
    ])
  })

  test('takes a message to the rule itself (Basic Ingest), and none to another', async () => {
    const given = { topic: '$aws/rules/hot/rooms/7/climate', payload }
    deepEqual(await problems(hot, given, { select, to: ['alerts', 'archive'] }), [])
    deepEqual(await problems(hot, { ...given, topic: '$aws/rules/cold/rooms/7/climate' }, { match: true }), [
      'the topic is for the rule "cold" alone',
    ])
  })

  test('sees that a rule fails', async () => {
    const broken = rule({ select: '$error("broken")', onError: [{ worker: 'trouble', on: ['evaluation'] }] })
    deepEqual(await problems(broken, { topic }, { error: 'broken', to: ['trouble'] }), [])
    deepEqual(await problems(broken, { topic }, { error: 'other' }), [
      'expected an error with "other", got "select: broken (D3137)"',
    ])
    deepEqual(await problems(broken, { topic }, { match: true }), ['the rule failed: select: broken (D3137)'])
    deepEqual(await problems(rule({ select: 'missing' }), { topic }, { select: 1 }), [
      'select: select was undefined, so nothing was sent',
    ])
  })

  test('without select looks at the payload', async () => {
    deepEqual(await problems(rule(), { topic, payload: { a: 1 } }, { select: { a: 1 } }), [])
    deepEqual(await problems(rule(), { topic, payloadText: 'plain' }, { select: 'plain' }), [])
  })

  test('gives everything that a message can have', async () => {
    const select =
      '{ "c": $clientId(), "p": $principal(), "t": $thing(), "q": $qos(), "r": $retain(), "ct": $properties("contentType"), "u": $properties("site"), "us": $properties("tag"), "raw": $payload("base64") }'
    const given = {
      topic,
      payloadBase64: 'AP8=',
      clientId: 'c',
      principal: 'me',
      thing: 'd',
      qos: 2,
      retain: true,
      properties: { contentType: 'text/plain', site: 'hq', tag: ['a', 'b'] },
    } as const
    const expected = { c: 'c', p: 'me', t: 'd', q: 2, r: true, ct: 'text/plain', u: 'hq', us: ['a', 'b'], raw: 'AP8=' }
    deepEqual(await problems(rule({ select }), given, { select: expected }), [])
  })

  test('runs against its own rule alone, in order', async () => {
    const tests = [ruleTest({ topic: 'a' }, { match: true }, 'one'), ruleTest({ topic: 'b' }, { match: true }, 'two')]
    const results = await runRuleTests([rule({ name: 'x', from: ['a'], tests }), rule({ name: 'y', from: ['b'] })])
    deepEqual(
      results.map((result) => `${result.rule} ${result.test.name} ${result.passed}`),
      ['x one true', 'x two false'],
    )
  })
})
