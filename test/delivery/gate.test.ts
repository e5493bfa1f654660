import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import { createGate, createSlots } from '../../src/delivery/gate.ts'

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

describe('gate', () => {
  it('never lets anything beside exclusive work, and lets everybody in at last', async () => {
    const work = fc.array(fc.record({ alone: fc.boolean(), turns: fc.nat(3), fails: fc.boolean() }), { maxLength: 30 })
    await fc.assert(
      fc.asyncProperty(work, async (pieces) => {
        const gate = createGate()
        let sharing = 0
        let alone = 0
        let done = 0
        const settled = await Promise.allSettled(
          pieces.map((piece) =>
            gate[piece.alone ? 'exclusive' : 'shared'](async () => {
              if (piece.alone) alone += 1
              else sharing += 1
              for (let count = 0; count < piece.turns; count += 1) {
                assert.ok(alone === 0 || (alone === 1 && sharing === 0))
                await turn()
              }
              assert.ok(alone === 0 || (alone === 1 && sharing === 0))
              if (piece.alone) alone -= 1
              else sharing -= 1
              done += 1
              if (piece.fails) throw new Error('fails')
            }),
          ),
        )
        assert.equal(done, pieces.length)
        for (const [index, { status }] of settled.entries()) {
          assert.equal(status, pieces[index]?.fails ? 'rejected' : 'fulfilled')
        }
      }),
      { numRuns: 50 },
    )
  })
})

describe('slots', () => {
  it('runs as many at once as there are, in order', async () => {
    const slots = createSlots(3)
    const order: number[] = []
    let running = 0
    let most = 0
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        slots.run(async () => {
          order.push(index)
          running += 1
          most = Math.max(most, running)
          await turn()
          running -= 1
        }),
      ),
    )
    assert.equal(most, 3)
    assert.deepEqual(order, [...order.keys()])
  })
})
