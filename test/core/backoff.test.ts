import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import { backoffMs } from '../../src/core/backoff.ts'

describe('backoffMs', () => {
  it('spreads over everything up to the first wait doubled each round, and never over the longest', () => {
    const backoff = { first: 500, max: 300_000 }
    assert.equal(
      backoffMs(backoff, 0, () => 0.999999),
      500,
    )
    assert.equal(
      backoffMs(backoff, 1, () => 0.5),
      500,
    )
    assert.equal(
      backoffMs(backoff, 4, () => 0.999999),
      8_000,
    )
    assert.equal(
      backoffMs(backoff, 5_000, () => 0.999999),
      300_000,
    )
  })

  it('never waits less than a little, unless the longest wait is less', () => {
    assert.equal(
      backoffMs({ first: 500, max: 300_000 }, 3, () => 0),
      50,
    )
    assert.equal(
      backoffMs({ first: 500, max: 7 }, 3, () => 0),
      7,
    )
  })

  it('is a number even when the first wait is none', () => {
    assert.equal(
      backoffMs({ first: 0, max: 10 }, 5_000, () => 0.5),
      0,
    )
  })

  it('is between nothing and the longest wait for any numbers', () => {
    const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
    fc.assert(
      fc.property(fc.nat(1e6), fc.nat(1e9), fc.nat(1e6), unit, (first, max, round, dice) => {
        const wait = backoffMs({ first, max }, round, () => dice)
        assert.ok(wait >= 0 && wait <= max, `${wait}`)
      }),
    )
  })
})
