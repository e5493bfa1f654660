import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { silent } from '../../../src/core/log.ts'
import { type Slot, takeSlot } from '../../../src/ingest/bridge/slots.ts'
import { type Scope, until } from '../../support/cleanup.ts'
import { createMemoryQueues, type MemoryQueues } from '../../support/memory-queues.ts'

async function take(scope: Scope, queues: MemoryQueues, leaseMs = 150): Promise<Slot> {
  const slot = await takeSlot({
    store: queues.store,
    bridge: 'b',
    leaseMs,
    signal: new AbortController().signal,
    log: silent,
  })
  scope.after(() => slot.release().catch(() => {}))
  return slot
}

/** An ingest that has had a slot and a session, and is never heard of again. */
async function dead({ store }: MemoryQueues, slot: number, leaseMs: number): Promise<void> {
  await store.lease(`bridge/b/slot/${slot}`, 'dead', leaseMs)
  await store.set('bridge/b/slots', slot)
  await store.set(`bridge/sluice-b-${slot}/filters`, ['$share/s/#'])
}

describe('slots of a shared bridge', () => {
  it('gives the lowest free one, and one that was released again', async (t) => {
    const queues = createMemoryQueues()
    const [first, second, third] = [await take(t, queues), await take(t, queues), await take(t, queues)]
    assert.deepEqual([first.number, second.number, third.number], [1, 2, 3])
    await second.release()
    assert.equal((await take(t, queues)).number, 2)
  })

  it('gives those who come together one each', async (t) => {
    const queues = createMemoryQueues()
    const slots = await Promise.all([1, 2, 3, 4].map(() => take(t, queues)))
    assert.deepEqual(
      slots.map(({ number }) => number).sort((one, other) => one - other),
      [1, 2, 3, 4],
    )
  })

  it('gives the slot of one that died to the next that comes, though it comes before the lease has ended', async (t) => {
    const queues = createMemoryQueues()
    await dead(queues, 3, 100)
    assert.equal((await take(t, queues)).number, 3)
  })

  it('gives a slot whose session is left at the broker before a lower one without', async (t) => {
    const queues = createMemoryQueues()
    await dead(queues, 2, 0)
    assert.deepEqual([(await take(t, queues)).number, (await take(t, queues)).number], [2, 1])
  })

  it('gives the lowest free one when those with a session stay taken', async (t) => {
    const queues = createMemoryQueues()
    await dead(queues, 2, 60_000)
    assert.equal((await take(t, queues)).number, 1)
  })

  it('is kept by being renewed, and says so when it was lost', async (t) => {
    const queues = createMemoryQueues()
    const slot = await take(t, queues, 60)
    await queues.store.set('seen', 0)
    let denied = 0
    await until('several lease times', async () => {
      if (!(await queues.store.lease('bridge/b/slot/1', 'other', 60))) denied += 1
      return denied > 10
    })
    queues.away = true
    await until('the lease to end', async () => {
      queues.away = false
      const taken = await queues.store.lease('bridge/b/slot/1', 'other', 10_000)
      if (!taken) queues.away = true
      return taken
    })
    await slot.lost
  })

  it('knows, of several that stop together, the last', async (t) => {
    const queues = createMemoryQueues()
    const slots = await Promise.all([1, 2, 3].map(() => take(t, queues)))
    const said: boolean[] = []
    let leaving = 0
    await Promise.all(
      slots.map((slot) =>
        slot.release(async (others) => {
          assert.equal((leaving += 1), 1, 'one at a time')
          await new Promise((resolve) => setTimeout(resolve, 20))
          said.push(others)
          leaving -= 1
        }),
      ),
    )
    assert.deepEqual(said, [true, true, false])
  })

  it('waits for a store that is away, until it is told to stop', async (t) => {
    const queues = createMemoryQueues()
    queues.away = true
    const taking = take(t, queues)
    setTimeout(() => (queues.away = false), 50)
    assert.equal((await taking).number, 1)
    queues.away = true
    const stop = new AbortController()
    const options = { store: queues.store, bridge: 'b', leaseMs: 10_000, signal: stop.signal, log: silent }
    const waiting = takeSlot(options)
    stop.abort(new Error('enough'))
    await assert.rejects(waiting)
  })
})
