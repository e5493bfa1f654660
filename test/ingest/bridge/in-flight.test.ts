import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import { InFlight } from '../../../src/ingest/bridge/in-flight.ts'

it('acknowledges in the order of arrival, each message once, in whatever order they are decided', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 65_535 }), { maxLength: 300 }),
      fc.infiniteStream(fc.nat()),
      (ids, dice) => {
        const acknowledged: number[] = []
        const flight = new InFlight(({ packetId }, reason) => {
          assert.equal(reason, packetId % 256)
          acknowledged.push(packetId)
        })
        const open = ids.map((packetId) => flight.add(packetId, 1))
        while (open.length > 0) {
          const [place] = open.splice((dice.next().value ?? 0) % open.length, 1)
          assert.ok(place !== undefined)
          flight.settle(place, place.packetId % 256)
          assert.deepEqual(acknowledged, ids.slice(0, acknowledged.length))
          assert.equal(flight.size, ids.length - acknowledged.length)
        }
        assert.deepEqual(acknowledged, ids)
      },
    ),
    { numRuns: 30 },
  )
})
