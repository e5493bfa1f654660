import { equal } from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { no, yes } from '../../src/policy/certainty.ts'
import { Report } from '../../src/policy/report.ts'
import { parseTemplate } from '../../src/policy/template.ts'

function matches(pattern: string, text: string, start = 0): boolean {
  return parseTemplate(pattern, true, '', new Report()).match(text, start, {}) === yes
}

test('matches as the regular expression of the same pattern does', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '/', '😀', '\n'), maxLength: 10 })
  const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '/', '😀', '*', '?'), maxLength: 8 })
  fc.assert(
    fc.property(pattern, text, (pattern, text) => {
      const source = Array.from(pattern, (one) =>
        one === '*' ? '[^]*' : one === '?' ? '[^]' : RegExp.escape(one),
      ).join('')
      equal(matches(pattern, text), new RegExp(`^${source}$`, 'u').test(text))
    }),
    { numRuns: 5_000 },
  )
})

test('a text matches from where it is told to', () => {
  equal(matches('b*', 'ab/c', 1), true)
  equal(matches('b*', 'ab/c', 0), false)
  equal(matches('*', 'ab', 2), true)
})

test('ends soon on patterns that keep a backtracking matcher busy for ever', () => {
  equal(matches(`${'*a'.repeat(200)}b`, 'a'.repeat(5_000)), false)
  equal(matches(`${'a*?'.repeat(100)}b`, 'a'.repeat(5_000)), false)
  equal(matches(`*${'a'.repeat(1_000)}b`, 'a'.repeat(5_000)), false)
})

test('a variable is text, wherever it stands', () => {
  const template = parseTemplate('*${iot:ClientId}*/${iot:ClientId}', true, '', new Report())
  const context = { protocol: 'mqtt', clientId: 'a*' } as const
  equal(template.match('xa*y/a*', 0, context), yes)
  equal(template.match('xab/a*', 0, context), no)
  equal(template.match('xa*y/ab', 0, context), no)
})

test('an open variable is malformed', () => {
  const report = new Report()
  parseTemplate('a${iot:ClientId', true, 'Statement.0.Resource', report)
  equal(report.malformations[0]?.path, 'Statement.0.Resource')
})

test('a dollar is a dollar before anything but a brace', () => {
  equal(matches('$aws/$', '$aws/$'), true)
  equal(matches('${$}{x}', '${x}'), true)
})
