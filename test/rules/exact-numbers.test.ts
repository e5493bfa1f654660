import { deepEqual, equal } from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { compileExpression } from '../../src/rules/expression.ts'
import { Payload } from '../../src/rules/payload.ts'

const run = async (text: string, json: string) => {
  const expression = compileExpression(text, { exact: true })
  const payload = new Payload(Buffer.from(json))
  const result = await expression.evaluate(expression.exact ? payload.exactValue : payload.value)
  return { exact: expression.exact, json: JSON.stringify(result) }
}

const big = '9007199254740993'
const data = `{"id":${big},"x":2,"items":[{"id":${big},"p":2},{"id":12345678901234567891,"p":0.5}],"o":{"id":1e999}}`

describe('what is only copied stays exact', () => {
  for (const [text, expected] of [
    ['id', big],
    ['$', data],
    ['{ "id": id, "x": x }', `{"id":${big},"x":2}`],
    ['{ "ids": [id, items.id], "o": o }', `{"ids":[${big},${big},12345678901234567891],"o":{"id":1e999}}`],
    ['items[p > 1].{ "id": id }', `{"id":${big}}`],
    ['items[id > 1e19].id', '12345678901234567891'],
    ['items[1].id', '12345678901234567891'],
    ['items^(>id).id', `[12345678901234567891,${big}]`],
    ['items{ $string(p): id }', `{"2":${big},"0.5":12345678901234567891}`],
    ['x = 2 ? id : 0', big],
    ['($i := id; { "i": $i })', `{"i":${big}}`],
    ['$merge([$, { "items": 0, "o": 0 }])', `{"id":${big},"x":2,"items":0,"o":0}`],
    ['$map(items, function($i) { $i.id })', `[${big},12345678901234567891]`],
    ['$filter(items, function($i) { $i.p > 1 }).id', big],
    ['items ~> $map(function($i) { { "id": $i.id } })', `[{"id":${big}},{"id":12345678901234567891}]`],
    ['(**.id)[0]', big],
  ] as const) {
    test(text, async () => deepEqual(await run(text, data), { exact: true, json: expected }))
  }
})

describe('what is computed with is a double', () => {
  for (const [text, expected] of [
    ['id + 0', '9007199254740992'],
    ['-id', '-9007199254740992'],
    ['$sum(items.p)', '2.5'],
    ['$max(items.id)', '12345678901234567000'],
    ['$string(id)', '"9007199254740992"'],
    ['id & ""', '"9007199254740992"'],
    ['id = 9007199254740992', 'true'],
    ['id in [9007199254740992]', 'true'],
    ['$type(id)', '"number"'],
    ['id ? "yes" : "no"', '"yes"'],
    ['$exists(id) and id > 5', 'true'],
    ['$boolean(id)', 'true'],
    ['$sum([id, x])', '9007199254740994'],
    ['items.(p * 2)', '[4,1]'],
    ['$reduce(items.p, function($a, $b) { $a + $b })', '2.5'],
    ['($f := function($n) { $n + 1 }; $f(id))', '9007199254740992'],
    ['$count(items.id)', '2'],
  ] as const) {
    test(text, async () => deepEqual((await run(text, data)).json, expected))
  }
})

describe('what cannot be told runs on doubles', () => {
  for (const [text, expected] of [
    ['id.$string()', '"9007199254740992"'],
    ['$ ~> |o|{"a": 1}| ~> $lookup("x")', '2'],
    ['($f := function($n)<n:n> { $n }; $f(id))', '9007199254740992'],
    ['($r := $round(?, 0); $r(id))', '9007199254740992'],
  ] as const) {
    const small = data.replace('1e999', '3')
    test(text, async () => deepEqual(await run(text, small), { exact: false, json: expected }))
  }
})

test('without such numbers the prepared expression does what the other does', async () => {
  const value = fc.oneof(fc.integer(), fc.constantFrom('a', 'b', ''), fc.boolean(), fc.constant(null))
  const item = fc.tuple(value, fc.integer()).map(([a, p]) => ({ a, p }))
  const input = fc.tuple(value, fc.array(item, { maxLength: 4 })).map(([x, items]) => ({ x, items }))
  const text = fc.constantFrom(
    'x',
    '**',
    'items.a',
    'items.*',
    'items[p > 0].a',
    'items[-1]',
    'items[a]',
    'items^(<p, >a).a',
    'items{ $string(p): a }',
    '{ "x": x, "a": [items.a], "n": $count(items) }',
    'x = "a" ? items : [x]',
    'x and items',
    'x in items.a',
    'x & items.p',
    'x + 1',
    '-x',
    '[1..$count(items)].("n" & $)',
    '$map(items, function($i, $n) { $n + $i.p })',
    '$sum(items.p) > 0 ? $merge(items)',
    'items@$i.{ "p": $i.p, "all": $count(items) }',
    'items#$n.{ "n": $n, "a": a }',
    'items.{ "up": %.x, "a": a }',
    '$sort(items.p)',
    '$each($, function($v, $k) { $k })',
    '$spread(items)',
    'x ~> $type()',
    'items.a ~> $append(1)',
  )
  const told = async (expression: string, data: unknown, exact: boolean) => {
    try {
      return JSON.stringify(await compileExpression(expression, { exact }).evaluate(data))
    } catch (error) {
      return (error as { reason?: string }).reason
    }
  }
  await fc.assert(
    fc.asyncProperty(text, input, async (expression, data) => {
      equal(await told(expression, data, true), await told(expression, data, false))
    }),
    { numRuns: 600 },
  )
})
