import { deepEqual, equal, match, notEqual, rejects, throws } from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Entry, Failure } from '../../src/core/envelope.ts'
import type { RuleDefinition } from '../../src/core/rule.ts'
import { compileRules } from '../../src/rules/engine.ts'
import { message, outOf, rule } from '../support/rules.ts'

const one = async (parts: Partial<RuleDefinition>, payload: unknown, about = {}) => {
  const outcomes = await compileRules([rule(parts)]).evaluate(message(payload, about))
  equal(outcomes.length, 1)
  return outcomes[0]
}

describe('where', () => {
  for (const [where, kind] of [
    ['a > 1', 'deliveries'],
    ['a > 9', 'unmatched'],
    ['missing > 1', 'unmatched'],
    ['missing', 'unmatched'],
    ['true', 'deliveries'],
    ['a', 'failed'],
    ['"true"', 'failed'],
    ['null', 'failed'],
    ['[true, true]', 'failed'],
    ['$', 'failed'],
    ['$not', 'failed'],
    ['a > "x"', 'failed'],
  ] as const) {
    test(`${where} is ${kind}`, async () => equal((await one({ where }, { a: 5 }))?.kind, kind))
  }

  test('a payload that is not JSON is undefined', async () => {
    equal((await one({ where: 'a > 1' }, 'not json'))?.kind, 'unmatched')
    equal((await one({ where: '$exists($) = false' }, Buffer.from([0xff])))?.kind, 'deliveries')
  })
  test('says why it failed', async () => {
    const outcome = await one({ where: 'a' }, { a: 5 })
    deepEqual(outcome, {
      kind: 'failed',
      rule: 'r',
      reason: 'where: must be true, false or undefined, and is a number',
      onError: [],
    })
  })
})

describe('select', () => {
  for (const [select, payload, out] of [
    ['{ "b": a, "t": $topic(2) }', '{"a":1}', '{"b":1,"t":"b"}'],
    ['a', '{"a":"é\\u0000\\ud800"}', '"é\\u0000\\ud800"'],
    ['$', '[1, 2]', '[1,2]'],
    ['$', 'null', 'null'],
    ['items.x', '{"items":[{"x":1},{"x":2}]}', '[1,2]'],
    ['{ "id": id }', '{"id":9007199254740993}', '{"id":9007199254740993}'],
    ['{ "__proto__": a, "constructor": a }', '{"a":1}', '{"__proto__":1,"constructor":1}'],
    ['{ "raw": $payload("base64") }', 'x', '{"raw":"eA=="}'],
  ] as const) {
    test(`${select} of ${payload}`, async () => equal(outOf(await one({ select }, payload)), out))
  }

  test('that is undefined sends nothing', async () => {
    deepEqual(await one({ select: 'missing' }, {}), { kind: 'empty', rule: 'r' })
  })
  for (const [select, reason] of [
    ['$uppercase', /select: the result holds a function/],
    ['{ "f": function($x) { $x } }', /select: the result holds a function/],
    ['1/0', /select: the result holds a number out of range/],
    ['[1..n].$$.s', /select: the result is over 1048576 bytes/],
    ['a + 1', /select: .*T2001/],
  ] as const) {
    test(`${select} fails`, async () => {
      const outcome = await one({ select }, { a: 'x', n: 200, s: 'x'.repeat(10_000) })
      match(outcome?.kind === 'failed' ? outcome.reason : '', reason)
    })
  }
})

describe('rules', () => {
  test('come in their order, once each, and do not disturb one another', async () => {
    const rules = [
      rule({ name: 'second filter', from: ['x', 'a/+', 'a/b', '#'] }),
      rule({ name: 'other topic', from: ['b/#'] }),
      rule({ name: 'fails', select: '$error("no")' }),
      rule({ name: 'loops', where: '($f := function() { $f() }; $f())' }),
      rule({ name: 'last', where: 'a = 1' }),
    ]
    const outcomes = await compileRules(rules).evaluate(message({ a: 1 }))
    deepEqual(
      outcomes.map((outcome) => `${outcome.rule}: ${outcome.kind}`),
      ['second filter: deliveries', 'fails: failed', 'loops: failed', 'last: deliveries'],
    )
  })

  test('no rule for the topic is no outcome', async () => {
    deepEqual(await compileRules([rule({ from: ['b'] })]).evaluate(message()), [])
    deepEqual(await compileRules([]).evaluate(message()), [])
  })

  test('a delivery says worker, action, what goes out and how', async () => {
    const to = [{ worker: 'w1', with: { group: '${ $topic(2) }', n: '${ a }' } }, { worker: 'w2' }]
    deepEqual(await one({ to, select: 'a' }, { a: 1 }), {
      kind: 'deliveries',
      rule: 'r',
      deliveries: [
        { worker: 'w1', rule: 'r', action: 0, out: Buffer.from('1'), with: { group: 'b', n: 1 } },
        { worker: 'w2', rule: 'r', action: 1, out: Buffer.from('1') },
      ],
    })
  })

  test('without select nothing is put out: the payload goes byte for byte', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), async (bytes) => {
        const payload = Buffer.from(bytes)
        const copy = Buffer.from(payload)
        const outcome = await one({ where: '$exists($topic())' }, payload)
        deepEqual(outcome, { kind: 'deliveries', rule: 'r', deliveries: [{ worker: 'w', rule: 'r', action: 0 }] })
        deepEqual(payload, copy)
      }),
    )
  })

  test('a template that fails fails the rule', async () => {
    const outcome = await one({ to: [{ worker: 'ok' }, { worker: 'w', with: { a: ['${ $error("no") }'] } }] }, {})
    match(outcome?.kind === 'failed' ? outcome.reason : '', /^to\.1\.with: no/)
  })

  test('one that does not parse is refused whole', () => {
    throws(() => compileRules([rule({ select: 'a +' })]), { code: 'EXPRESSION_INVALID', message: /rule "r": select: / })
    throws(() => compileRules([rule({ onError: [{ worker: 'w', on: ['delivery'], with: { a: '${ }' } }] })]), {
      message: /rule "r": onError\.0\.with\.a: /,
    })
  })

  test('the hash changes with what decides and with nothing else', () => {
    const { hash } = compileRules([rule({ where: 'a' })])
    match(hash, /^[0-9a-f]{12}$/)
    const position = { file: 'elsewhere', line: 9, column: 9 }
    equal(compileRules([rule({ where: 'a', position })]).hash, hash)
    for (const other of [
      rule({ where: 'b' }),
      rule({ where: 'a', name: 'x' }),
      rule({ where: 'a', to: [{ worker: 'x' }] }),
    ]) {
      notEqual(compileRules([other]).hash, hash)
    }
  })

  test('no payload makes it throw', async () => {
    const set = compileRules([
      rule({ name: 'a', where: 'a > 1 or b = "x"', select: '{ "a": a, "all": $, "n": $count(**) }' }),
      rule({ name: 'b', select: '$merge([$, { "at": $timestamp(), "s": $string(a), "up": $uppercase(b) }])' }),
      rule({ name: 'c', select: 'a.b[c > 1].{ "x": $sum(d), "m": $match(b, /(\\w+)-(\\d+)/) }' }),
      rule({ name: 'd', to: [{ worker: 'w', with: { a: '${ a }', b: 'x ${ b.c } ${ $topic(a) }' } }] }),
    ])
    const key = fc.constantFrom(
      'a',
      'b',
      'c',
      'd',
      '__proto__',
      'constructor',
      'tupleStream',
      '@',
      '_jsonata_lambda',
      'then',
      'length',
    )
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom(
          '1',
          '-0',
          '1e999',
          '9007199254740993',
          '0.1',
          'true',
          'null',
          '"x"',
          '"a-1"',
          '"\\ud800"',
          '"\\u0000"',
        ),
        fc.array(tie('tree'), { maxLength: 4 }).map((items) => `[${items.join(',')}]`),
        fc
          .array(fc.tuple(key, tie('tree')), { maxLength: 4 })
          .map((fields) => `{${fields.map(([name, value]) => `"${name}":${String(value)}`).join(',')}}`),
      ),
    }))
    const json = tree.map((text) => Buffer.from(text))
    const bytes = fc.uint8Array({ maxLength: 100 }).map((given) => Buffer.from(given))
    await fc.assert(
      fc.asyncProperty(fc.oneof({ arbitrary: json, weight: 5 }, bytes), async (payload) => {
        const outcomes = await set.evaluate(message(payload))
        equal(outcomes.length, 4)
        for (const outcome of outcomes) {
          if (outcome.kind !== 'deliveries') continue
          for (const { out } of outcome.deliveries) if (out !== undefined) JSON.parse(out.toString('utf8'))
        }
      }),
      { numRuns: 600 },
    )
    equal(Reflect.get({}, 'a'), undefined)
  })
})

const entry: Entry = {
  id: 'm-1',
  at: 5,
  rule: 'r',
  action: 0,
  topic: 'a/b',
  qos: 1,
  principal: 'p',
  clientId: 'c-1',
  sourceIp: '10.0.0.1',
  in: '{"site":"hq"}',
  attempts: 3,
}
const failure: Failure = { v: 1, worker: 'w', kind: 'exhausted', reason: 'HTTP 500', at: 9, entry }

describe('error actions', () => {
  const definition = rule({
    to: [{ worker: 'w' }, { worker: 'x' }],
    onError: [
      { worker: 'trouble', on: ['delivery'], with: { group: '${ site }', to: '${ $topic(1) }' } },
      { worker: 'both', on: ['delivery', 'evaluation'] },
      { worker: 'bugs', on: ['evaluation'], with: { id: '${ $traceId() }' } },
    ],
    where: 'a.b.$error("no")',
  })
  const set = compileRules([definition], { kindOf: (worker) => (worker === 'w' ? 'sqs' : undefined) })
  const document = {
    ruleName: 'r',
    topic: 'a/b',
    cloudwatchTraceId: 'm-1',
    clientId: 'c-1',
    sourceIp: '10.0.0.1',
    base64OriginalPayload: Buffer.from('{"site":"hq"}').toString('base64'),
    failures: [{ failedAction: 'SqsAction', failedResource: 'w', errorMessage: 'HTTP 500' }],
  }

  test('carry the document of AWS IoT for a failed delivery', async () => {
    const deliveries = await set.errorActions(failure)
    deepEqual(
      deliveries.map(({ out, ...rest }) => ({ ...rest, out: JSON.parse(out?.toString('utf8') ?? '') as unknown })),
      [
        { worker: 'trouble', rule: 'r', action: 2, error: true, with: { group: 'hq', to: 'a' }, out: document },
        { worker: 'both', rule: 'r', action: 3, error: true, out: document },
      ],
    )
  })

  test('leave out what is not known', async () => {
    const { clientId: _, sourceIp: __, in: ___, ...rest } = entry
    const [, delivery] = await set.errorActions({ ...failure, worker: 'gone', entry: rest })
    deepEqual(JSON.parse(delivery?.out?.toString('utf8') ?? ''), {
      ruleName: 'r',
      topic: 'a/b',
      cloudwatchTraceId: 'm-1',
      failures: [{ failedAction: 'WorkerAction', failedResource: 'gone', errorMessage: 'HTTP 500' }],
    })
  })

  test('are none where the rule has none, or is gone', async () => {
    deepEqual(await compileRules([rule()]).errorActions(failure), [])
    deepEqual(await compileRules([]).errorActions(failure), [])
  })

  test('that cannot be rendered reject', async () => {
    const broken = rule({ onError: [{ worker: 'x', on: ['delivery'], with: { a: '${ $error("no") }' } }] })
    await rejects(compileRules([broken]).errorActions(failure), /no/)
  })

  test('run at once where the rule itself failed', async () => {
    const [outcome] = await set.evaluate(message({ a: { b: 1 } }, { clientId: 'c-1' }))
    equal(outcome?.kind, 'failed')
    const onError = outcome?.kind === 'failed' ? outcome.onError : []
    deepEqual(
      onError.map(({ worker, action, error, with: options }) => ({ worker, action, error, options })),
      [
        { worker: 'both', action: 3, error: true, options: undefined },
        { worker: 'bugs', action: 4, error: true, options: { id: 'm-1' } },
      ],
    )
    const said = JSON.parse(onError[0]?.out?.toString('utf8') ?? '') as typeof document
    deepEqual(said.failures, [
      {
        failedAction: 'RuleEvaluation',
        failedResource: 'r',
        errorMessage: outcome?.kind === 'failed' ? outcome.reason : '',
      },
    ])
    equal(Buffer.from(said.base64OriginalPayload, 'base64').toString(), '{"a":{"b":1}}')
  })

  test('that fail too are named in the reason', async () => {
    const outcome = await one(
      {
        where: '$error("first")',
        onError: [{ worker: 'x', on: ['evaluation'], with: { a: '${ $error("second") }' } }],
      },
      {},
    )
    match(
      outcome?.kind === 'failed' ? outcome.reason : '',
      /^where: first .*; the error action for "x" failed too: second/,
    )
  })
})

describe('a message to one rule (Basic Ingest)', () => {
  const set = compileRules([
    rule({ name: 'num', from: ['num/+'], where: 'n > 1', select: '{ "topic": $topic(), "first": $topic(1) }' }),
    rule({ name: 'all', from: ['#', '$aws/#'] }),
  ])
  const to = (name: string, topic: string, n = 5) => set.evaluate(message({ n }, { topic, rule: name }))

  test('goes to that one alone, which sees the topic behind the prefix', async () => {
    const outcomes = await to('num', 'num/a')
    deepEqual(
      outcomes.map(({ rule }) => rule),
      ['num'],
    )
    equal(outOf(outcomes[0]), '{"topic":"num/a","first":"num"}')
  })
  test('is not asked whether the rule’s filters match, and is whether its condition holds', async () => {
    equal(outOf((await to('num', 'other/x/y'))[0]), '{"topic":"other/x/y","first":"other"}')
    equal(outOf((await to('num', ''))[0]), '{"topic":"","first":""}')
    equal((await to('num', 'num/a', 1))[0]?.kind, 'unmatched')
  })
  test('goes nowhere where there is no such rule', async () => deepEqual(await to('gone', 'num/a'), []))
})

describe('what no rule takes', () => {
  const unmatched = rule({ name: '$unmatched', from: [], to: [{ worker: 'rest', with: { path: '${ $topic() }' } }] })
  const rules = [rule({ from: ['a/#'], where: 'false' })]
  const set = compileRules(rules, { unmatched })

  test('has a rule of its own, which no topic and no name leads to', async () => {
    deepEqual(await set.evaluate(message({}, { topic: 'b' })), [])
    deepEqual(await set.evaluate(message({}, { topic: 'b', rule: '$unmatched' })), [])
    const delivery = { worker: 'rest', rule: '$unmatched', action: 0, with: { path: 'b' } }
    deepEqual(await set.unmatched(message({}, { topic: 'b' })), {
      kind: 'deliveries',
      rule: '$unmatched',
      deliveries: [delivery],
    })
    equal(await compileRules(rules).unmatched(message()), undefined)
    notEqual(set.hash, compileRules(rules).hash)
  })
})
