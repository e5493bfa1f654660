import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import { matchesPattern, mayActFor } from '../../src/identity/acts-for.ts'

const bridge = { name: 'plant', method: 'token' }

describe('mayActFor', () => {
  it('always lets a principal speak for its own thing, and by itself for no other', () => {
    const own = { ...bridge, thing: 'd-1' }
    assert.equal(mayActFor(own, 'd-1'), true)
    assert.equal(mayActFor(own, 'd-2'), false)
    assert.equal(mayActFor(bridge, 'd-1'), false)
    assert.equal(mayActFor({ ...bridge, actsFor: [] }, 'd-1'), false)
  })

  it('lets it speak for what any of its patterns takes', () => {
    const speaker = { ...bridge, actsFor: ['pump-*', 'd-?'] }
    for (const thing of ['pump-', 'pump-7', 'd-1']) assert.equal(mayActFor(speaker, thing), true, thing)
    for (const thing of ['pump', 'd-', 'd-17', 'xd-1', 'Pump-7']) assert.equal(mayActFor(speaker, thing), false, thing)
  })
})

describe('matchesPattern', () => {
  it('agrees with the obvious regular expression', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '.', '😀'), maxLength: 8 })
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '?', '😀'), maxLength: 8 })
    fc.assert(
      fc.property(pattern, text, (pattern, text) => {
        assert.equal(matchesPattern(pattern, text), expected(pattern, text))
      }),
      { numRuns: 2_000 },
    )
  })

  it('ends soon on a pattern that would keep a backtracking matcher busy for ever', () => {
    assert.equal(matchesPattern(`${'*a'.repeat(60)}b`, 'a'.repeat(4_000)), false)
  })
})

function expected(pattern: string, text: string): boolean {
  const source = Array.from(pattern, (one) => (one === '*' ? '.*' : one === '?' ? '.' : one.replace('.', '\\.'))).join(
    '',
  )
  return new RegExp(`^${source}$`, 'us').test(text)
}
