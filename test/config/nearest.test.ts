import { equal } from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { nearest, suggestion } from '../../src/config/nearest.ts'

const cases: readonly [string, string[], string | undefined][] = [
  ['alrets', ['alerts', 'archive'], 'alerts'],
  ['onerror', ['to', 'onError'], 'onError'],
  ['htpp', ['http', 'mqtt'], 'http'],
  ['colour', ['color', 'columns'], 'color'],
  ['x', ['y'], 'y'],
  ['abc', ['xyz'], undefined],
  ['to', ['from', 'where'], undefined],
  ['anything', [], undefined],
]
for (const [word, candidates, expected] of cases) {
  test(`"${word}" among ${candidates.join(', ')}`, () => equal(nearest(word, candidates), expected))
}

test('a word that is there is its own nearest', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ minLength: 1 }), { minLength: 1 }), (words) => {
      const [word = ''] = words
      equal(nearest(word, [word, ...words])?.toLowerCase(), word.toLowerCase())
    }),
  )
})

test('a suggestion is the end of a sentence, or nothing', () => {
  equal(suggestion('alrets', ['alerts']), '; did you mean "alerts"?')
  equal(suggestion('alrets', ['archive']), '')
})
