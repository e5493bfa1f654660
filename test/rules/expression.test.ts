import { deepEqual, equal, rejects, throws } from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type ExpressionOptions, compileExpression } from '../../src/rules/expression.ts'

const run = (text: string, input?: unknown, options?: ExpressionOptions) =>
  compileExpression(text, options).evaluate(input)
const plain = (value: unknown): unknown => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)))

describe('an expression that does not parse', () => {
  for (const [text, offset, message] of [
    ['a + ', 3, /Unexpected end/],
    ['{"a" 1}', 5, /Expected ":", got 1/],
    ['1 + * 3 3', 6, /Syntax error/],
    ['$eval(x)', 0, /\$eval is not available/],
    ['a ~> $eval', 5, /\$eval is not available/],
  ] as const) {
    test(`${text} names the place`, () => {
      throws(
        () => compileExpression(text),
        (error: { code: string; offset: number; message: string }) => {
          equal(error.code, 'EXPRESSION_INVALID')
          equal(error.offset, offset)
          return message.test(error.message)
        },
      )
    })
  }

  test('a variable of its own may be called eval', async () => equal(await run('($eval := 3; $eval)'), 3))
  test('$eval is there where it is asked for', async () => equal(await run('$eval("1+1")', {}, { allowEval: true }), 2))
})

describe('an expression that fails', () => {
  for (const [text, input, reason] of [
    ['a + 1', { a: 'x' }, 'T2001'],
    ['$nothing()', {}, 'T1006'],
    ['$error("no")', {}, 'D3137'],
    ['$uppercase(a)', { a: 1 }, 'T0410'],
  ] as const) {
    test(`${text} is an Error with jsonata's code`, async () => {
      await rejects(run(text, input), (error: Error & { code?: string; reason?: string }) => {
        equal(error instanceof Error, true)
        equal(error.code, 'EXPRESSION_FAILED')
        equal(error.reason, reason)
        return true
      })
    })
  }

  test('its message is bounded and holds no NUL', async () => {
    await rejects(run('$error(a)', { a: `\0${'x'.repeat(10_000)}` }), (error: Error) => {
      equal(error.message.length <= 500, true)
      equal(error.message.includes('\0'), false)
      return true
    })
  })

  test('it can run again', async () => {
    const expression = compileExpression('a + 1')
    await rejects(expression.evaluate({ a: 'x' }))
    equal(await expression.evaluate({ a: 1 }), 2)
  })
})

describe('a guardrail ends', () => {
  const numbers = Array.from({ length: 9_000 }, (_, index) => index)
  for (const [what, text, input, reason] of [
    ['an endless loop', '($f := function() { $f() }; $f())', {}, 'STEPS'],
    ['an endless recursion', '($f := function($n) { 1 + $f($n) }; $f(1))', {}, 'D1011'],
    ['a giant range', '[1..n]', { n: 1e9 }, 'D2014'],
    ['ranges that add up', '$map([1..n], function() { [1..n] })', { n: 9_000 }, 'STEPS'],
    ['ranges inside objects', '[1..n].{ "a": [1..$$.n] }', { n: 9_000 }, 'STEPS'],
    ['copies that add up', 'v.{ "r": $reverse($$.v) }', { v: numbers }, 'STEPS'],
    ['a giant sequence', 'v.x', { v: Array.from({ length: 10_001 }, () => ({ x: 1 })) }, 'D2015'],
    [
      'a doubling text',
      '($f := function($s, $n) { $n = 0 ? $s : $f($s & $s, $n - 1) }; $f("x", n))',
      { n: 60 },
      'TEXT_LENGTH',
    ],
    ['a doubling array', '$string($reduce([1..n], function($a, $i) { [[$a], [$a]] }, [1]))', { n: 60 }, 'TEXT_LENGTH'],
    [
      'a comparison of doubled arrays',
      '($a := $reduce([1..n], function($a, $i) { [[$a], [$a]] }, [1]); $a = $a)',
      { n: 60 },
      'TEXT_LENGTH',
    ],
    ['padding', '$pad("x", n)', { n: 1e9 }, 'TEXT_LENGTH'],
    ['padding with more than a character', '$pad("x", n, "abcdefgh")', { n: 1e6 }, 'TEXT_LENGTH'],
    ['joining', '$join([1..9999].$$.s)', { s: 'x'.repeat(1_000) }, 'TEXT_LENGTH'],
    ['replacing a text', '$replace(s, "x", s)', { s: 'x'.repeat(60_000) }, 'TEXT_LENGTH'],
    ['replacing a pattern', '$replace(s, /x/, s)', { s: 'x'.repeat(60_000) }, 'TEXT_LENGTH'],
    ['replacing with groups', '$replace(s, /(x+)/, r)', { s: 'x'.repeat(60_000), r: '$1'.repeat(100) }, 'TEXT_LENGTH'],
    ['a number that never scales', '$formatNumber(n, "0.0e0")', { n: Infinity }, 'D3001'],
    ['a picture without end', '$formatNumber(1, p)', { p: '#,'.repeat(200) }, 'PICTURE_LENGTH'],
    [
      'a time to read that backtracks',
      '$toMillis(s, "[Y][M][D][H][m][s]")',
      { s: `${'1'.repeat(50)}x` },
      'TEXT_LENGTH',
    ],
    ['roman numerals', '$formatInteger(n, "I")', { n: 1e15 }, 'D3130'],
    ['one regular expression after another', '$match(s, /a.*b|a/)', { s: 'a'.repeat(100_000) }, 'D1012'],
  ] as const) {
    test(what, async () => {
      const limits = { timeoutMs: reason === 'D1012' ? 200 : 20_000 }
      await rejects(run(text, input, { limits }), (error: { code: string; reason: string }) => {
        equal(`${error.code} ${error.reason}`, `EXPRESSION_FAILED ${reason}`)
        return true
      })
    })
  }

  test('a loop over time where steps are not bounded', async () => {
    const limits = { steps: 1e9, timeoutMs: 20 }
    await rejects(run('($f := function() { $f() }; $f())', {}, { limits }), { reason: 'D1012' })
  })

  test('a clock that is put forward meanwhile takes none of its time', async (t) => {
    let ahead = 0
    const real = Date.now
    t.mock.method(Date, 'now', () => real() + (ahead += 3_600_000))
    equal(await run('$sum([1..100])', {}), 5050)
  })

  test('deep data, and lets it through where it is only copied', async () => {
    const deep = JSON.parse(`${'['.repeat(50_000)}${']'.repeat(50_000)}`) as unknown
    await rejects(run('**', { deep }), { code: 'EXPRESSION_FAILED' })
  })

  test('nothing that is ordinary', async () => {
    equal(await run('$sum(v.x)', { v: numbers.map((x) => ({ x })) }), 40_495_500)
    equal(await run('$count($distinct(v))', { v: [...numbers, ...numbers] }), 9_000)
    equal(await run('($f := function($n) { $n = 0 ? 0 : 1 + $f($n - 1) }; $f(300))', {}), 300)
    equal(await run('($f := function($n) { $n = 0 ? 0 : $f($n - 1) }; $f(5000))', {}), 0)
  })
})

describe('evaluations at the same time', () => {
  test('do not share what jsonata keeps in an expression', async () => {
    const expression = compileExpression('($x := v; $y := [1..50].($ * 2); $x)')
    const inputs = Array.from({ length: 200 }, (_, v) => v)
    deepEqual(await Promise.all(inputs.map((v) => expression.evaluate({ v }))), inputs)
  })

  test('have a budget each', async () => {
    const expression = compileExpression('$count([1..1000].($ + 1))', { limits: { steps: 6_000 } })
    const results = await Promise.all(Array.from({ length: 20 }, () => expression.evaluate({})))
    deepEqual(
      results,
      Array.from({ length: 20 }, () => 1_000),
    )
  })

  test('let timers in between', async () => {
    const expression = compileExpression('$count([1..5000].($ + 1))')
    let ticked = 0
    const timer = setInterval(() => (ticked += 1), 1)
    await Promise.all(Array.from({ length: 40 }, () => expression.evaluate({})))
    clearInterval(timer)
    equal(ticked > 0, true)
  })
})

describe('keys that a device chooses', () => {
  const marked = {
    items: [
      { k: 'tupleStream', v: 1 },
      { k: 'limit', v: 1_000 },
      { k: 'x', v: 2 },
    ],
    limit: 5,
  }
  for (const text of [
    '($limit := 30; (items{ k: v }).{ "l": $limit })',
    '($limit := 30; $merge(items.{ k: v }).{ "l": $limit })',
    '($limit := 30; ($ ~> |$|{ items[0].k: 1 }|).{ "l": $limit })',
  ]) {
    test(`${text} cannot name what jsonata keeps for itself`, async () => {
      await rejects(run(text, marked), { code: 'EXPRESSION_FAILED', reason: 'D1013' })
    })
  }
  test('may be anything else', async () => {
    deepEqual(plain(await run('items[k = "x"]{ k: v, "__proto__x": 1 }', marked)), { x: 2, __proto__x: 1 })
  })
})

describe('functions in a bounded form', () => {
  const value = fc.oneof(
    fc.integer({ min: -3, max: 3 }),
    fc.constantFrom('a', 'b', '1', 'text 1'),
    fc.boolean(),
    fc.constant(null),
  )
  const ab = fc.tuple(value, value).map(([a, b]) => ({ a, b }))
  const ba = fc.tuple(value, value).map(([a, b]) => ({ b, a }))
  const item = fc.oneof(value, ab, ba, fc.array(value, { maxLength: 2 }))

  test('$distinct keeps the first of equal values', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(item, { minLength: 2, maxLength: 8 }), async (v) => {
        const kept: unknown[] = []
        for (const one of v) if (!kept.some((known) => sameJson(known, one))) kept.push(one)
        deepEqual(plain(await run('{ "v": $distinct(v) }', { v })), { v: kept })
      }),
    )
  })

  test('$sort orders numbers and texts, and refuses a mixture', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 2 }), async (v) => {
        deepEqual(
          [...((await run('$sort(v)', { v })) as number[])],
          [...v].sort((a, b) => a - b),
        )
      }),
    )
    deepEqual(await run('$sort(["b", "a", "B"])'), ['B', 'a', 'b'])
    await rejects(run('$sort([1, "a"])'), { reason: 'D3070' })
  })

  test('$spread, $pad, $join and $replace do as before', async () => {
    deepEqual(plain(await run('$spread([{"a": 1, "b": 2}, 3, {"a": 4}])')), [{ a: 1 }, { b: 2 }, 3, { a: 4 }])
    equal(await run('$pad("x", -3, "ab")'), 'abx')
    equal(await run('$join(["a", "b"], "-")'), 'a-b')
    equal(await run('$replace("abcabc", /b(c)/, "<$1$0>")'), 'a<cbc>a<cbc>')
    equal(await run('$replace("aXbX", "X", "-", 1)'), 'a-bX')
    equal(await run('$replace("ab", /[ab]/, function($m) { $uppercase($m.match) })'), 'AB')
  })

  test('they can be applied in part and handed on', async () => {
    equal(await run('($p := $pad(?, 3, "-"); $p("a"))'), 'a--')
    deepEqual(plain(await run('$map(["a", "b"], $pad(?, 2))')), ['a ', 'b '])
    deepEqual(plain(await run('$map([1, 2], $string)')), ['1', '2'])
    equal(await run('$reduce(["a", "b"], $append) ~> $count()'), 2)
  })
})

function sameJson(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const keys = Object.keys(a)
  if (keys.length !== Object.keys(b).length) return false
  return keys.every((key) => Object.hasOwn(b, key) && sameJson(Reflect.get(a, key), Reflect.get(b, key)))
}
