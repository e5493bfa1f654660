import { equal } from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { nearest, suggestion } from '../../src/core/nearest.ts'

const cases: readonly [string, string[], string | undefined][] = [
  ['alrets', ['alerts', 'archive'], 'alerts'],
  ['onerror', ['to', 'onError'], 'onError'],
  ['htpp', ['http', 'mqtt'], 'http'],
  ['colour', ['color', 'columns'], 'color'],
  ['x', ['y'], 'y'],
  ['abc', ['xyz'], undefined],
  ['to', ['from', 'where'], undefined],
  ['anything', [], undefined],
  ['x'.repeat(5_000), ['x'], undefined],
]
for (const [word, candidates, expected] of cases) {
  test(`"${word.slice(0, 20)}" among ${candidates.join(', ')}`, () => equal(nearest(word, candidates), expected))
}

test('a word that is there is its own nearest', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ minLength: 1, maxLength: 100 }), { minLength: 1 }), (words) => {
      const [word = ''] = words
      equal(nearest(word, [word, ...words])?.toLowerCase(), word.toLowerCase())
    }),
  )
})

test('a suggestion is the end of a sentence, or nothing', () => {
  equal(suggestion('alrets', ['alerts']), '; did you mean "alerts"?')
  equal(suggestion('alrets', ['archive']), '')
  equal(
    suggestion('topc', ['topic'], (name) => `$${name}`),
    '; did you mean $topic?',
  )
})
