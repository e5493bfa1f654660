import { deepEqual, equal } from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { RuleDefinition } from '../../src/core/rule.ts'
import { examineRule, examineTemplate } from '../../src/rules/examine.ts'
import { rule } from '../support/rules.ts'

const said = (parts: Partial<RuleDefinition>) =>
  examineRule(rule(parts)).map(({ path, offset, message }) => `${path}@${offset ?? '-'}: ${message}`)

describe('examining a rule', () => {
  for (const [parts, ...expected] of [
    [{ where: 'a >' }, 'where@2: Unexpected end of expression (S0207)'],
    [{ where: 'a\n  > > 1' }, 'where@6: The symbol ">" cannot be used as a unary operator (S0211)'],
    [{ select: '{ "a" 1 }' }, 'select@6: Expected ":", got 1 (S0202)'],
    [{ select: '"abc' }, 'select@3: String literal must be terminated by a matching quote (S0101)'],
    [{ where: '$topc(2) = "x"' }, 'where@0: there is no function $topc; did you mean $topic?'],
    [{ where: '$Topic(2) = "x"' }, 'where@0: there is no function $Topic; did you mean $topic?'],
    [{ where: 'a > $limit' }, 'where@4: there is no variable $limit'],
    [{ where: '($limit := 3; a > $limt)' }, 'where@18: there is no variable $limt; did you mean $limit?'],
    [{ where: 'topic(2) = "x"' }, 'where@0: "topic" is a field and cannot be called; write $topic(…)'],
    [{ where: 'a.upercase(b)' }, 'where@2: "upercase" is a field and cannot be called; did you mean $uppercase?'],
    [
      { where: 'a ~> /x(?=y)/' },
      'where@5: lookahead and lookbehind are not supported: regular expressions run in linear time here (RE2)',
    ],
    [
      { where: '$contains(a, /(a)\\1/i)' },
      'where@13: backreferences are not supported: regular expressions run in linear time here (RE2)',
    ],
    [
      { select: '{ "x": $eval(a) }' },
      'select@7: $eval is not available: it would run text that a device sends as an expression',
    ],
    [
      { where: 'a = "${env:SECRET}"' },
      'where@5: "${env:…}" may not stand in a rule; references belong into sluice.yaml, workers/ and identity/',
    ],
    [
      { to: [{ worker: 'w', with: { a: ['x', 'y ${ $topc(1) }'], b: { c: '${ a' } } }] },
      'to.0.with.b.c@0: a template has no closing brace: ${ … }',
      'to.0.with.a.1@5: there is no function $topc; did you mean $topic?',
    ],
    [
      { onError: [{ worker: 'w', on: ['delivery'], with: { a: '${file:/x}' } }] },
      'onError.0.with.a@0: "${file:…}" may not stand in a rule; references belong into sluice.yaml, workers/ and identity/',
    ],
    [
      { where: 'a +', select: '$nowhere()', to: [{ worker: 'w', with: { a: '${}' } }] },
      'where@2: Unexpected end of expression (S0207)',
      'to.0.with.a@0: a template is empty: ${ }',
      'select@0: there is no function $nowhere',
    ],
  ] as const) {
    test(JSON.stringify(parts), () => deepEqual(said(parts as Partial<RuleDefinition>), expected))
  }

  for (const text of [
    '$topic(2) & $clientId() & $string($properties("a"))',
    '($f := function($x, $y) { $x + $y }; $reduce(v, $f))',
    'v@$i#$n[$n > 1].{ "i": $i }',
    'a ?: b',
    'a ?? b',
    '$$.a ~> $uppercase',
    '$map(v, function($x) { $x.topic }) ~> $join("-")',
    '$match(a, /^(?<year>\\d{4})/)',
  ]) {
    test(`${text} is fine`, () => deepEqual(said({ select: text }), []))
  }

  test('a place is inside its text', () => {
    const text = 'a and b and\n  $nothing(c)'
    const [complaint] = examineRule(rule({ where: text }))
    equal(text.slice(complaint?.offset, (complaint?.offset ?? 0) + 8), '$nothing')
  })
})

test('a test that expects any of a type that there is not', () => {
  const position = { file: 'r.yaml', line: 1, column: 1 }
  const tests = [
    {
      name: 't',
      position,
      given: { topic: 'a' },
      expect: { select: { a: [{ $any: 'text' }], b: { $any: 'number' } } },
    },
  ]
  deepEqual(said({ tests }), [
    'tests.0.expect.select.a.0@-: $any must stand alone and be one of number, string, boolean, object, array',
  ])
})

test('examining a template that stands elsewhere', () => {
  deepEqual(examineTemplate('${ $topic(2) }'), [])
  deepEqual(examineTemplate('plain'), [])
  deepEqual(examineTemplate('x ${ $topc(2) }'), [
    { message: 'there is no function $topc; did you mean $topic?', offset: 5 },
  ])
  deepEqual(examineTemplate('x ${ '), [{ message: 'a template has no closing brace: ${ … }', offset: 2 }])
})
