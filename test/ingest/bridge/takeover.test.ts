import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Closed } from '../../../src/mqtt/link.ts'
import { TakeoverWatch } from '../../../src/ingest/bridge/takeover.ts'

const closed: Closed = { by: 'broker', reason: 'closed' }

/** Connections that last `lasting` ms each; says after how many of at most ten it was a takeover. */
function rounds(
  lasting: number,
  between: (watch: TakeoverWatch, round: number) => void = () => {},
  how: Closed = closed,
): number {
  const watch = new TakeoverWatch()
  for (let round = 1; round <= 10; round += 1) {
    watch.connected(round * 100_000)
    if (watch.ended(how, round * 100_000 + lasting)) return round
    between(watch, round)
  }
  return Infinity
}

describe('takeover', () => {
  it('is what MQTT 5 says', () => {
    assert.equal(rounds(50_000, undefined, { ...closed, code: 0x8e }), 1)
  })

  it('is being closed again and again without a word by a broker that lets us in at once', () => {
    assert.equal(rounds(1), 3)
  })

  it('is not a broker that restarts, says why, or keeps us for a while, nor a bad network', () => {
    assert.equal(rounds(20_000), Infinity)
    assert.equal(
      rounds(1, (watch, round) => round % 2 === 0 && watch.failed()),
      Infinity,
    )
    assert.equal(rounds(1, undefined, { ...closed, code: 0x8b }), Infinity)
    assert.equal(rounds(1, undefined, { ...closed, by: 'network' }), Infinity)
  })
})
