import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import { Fifo } from '../../src/mqtt/fifo.ts'

it('gives what was put in, in order', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -2_000, max: 2_000 }), { maxLength: 20 }), (steps) => {
      const fifo = new Fifo<number>()
      const model: number[] = []
      let next = 0
      for (const step of steps) {
        for (let count = 0; count < step; count += 1) {
          fifo.push(next)
          model.push(next)
          next += 1
        }
        for (let count = 0; count < -step; count += 1) assert.equal(fifo.shift(), model.shift())
        assert.equal(fifo.first(), model[0])
        assert.equal(fifo.size, model.length)
      }
    }),
    { numRuns: 50 },
  )
})
