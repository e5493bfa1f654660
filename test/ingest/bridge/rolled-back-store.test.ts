import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { silent } from '../../../src/core/log.ts'
import { uncounted } from '../../../src/core/metrics.ts'
import type { Connection } from '../../../src/mqtt/connection.ts'
import { filtersKey } from '../../../src/ingest/bridge/client-id.ts'
import { createOwnership } from '../../../src/ingest/bridge/ownership.ts'
import { Subscriptions } from '../../../src/ingest/bridge/subscriptions.ts'
import { until } from '../../support/cleanup.ts'
import { createMemoryQueues } from '../../support/memory-queues.ts'

/** A store that has forgotten everything but `left`, and has come back. */
function forgetful() {
  const { store } = createMemoryQueues()
  const listeners: (() => void)[] = []
  return {
    store: { ...store, onReturn: (listener: () => void) => void listeners.push(listener) },
    comeBackWith: async (left: Readonly<Record<string, unknown>>, keys: readonly string[]): Promise<void> => {
      for (const key of keys) await store.delete(key)
      for (const [key, value] of Object.entries(left)) await store.set(key, value)
      for (const listener of listeners) listener()
    },
  }
}

describe('a bridge on a store that comes back with an older state', () => {
  it('keeps its client id, unless another ingest has taken it since', async () => {
    const { store, comeBackWith } = forgetful()
    const key = 'bridge/sluice-plant-1/owner'
    const before = createOwnership(store, 'sluice-plant-1')
    await before.isOurs()
    // Ids are ordered from one millisecond to the next.
    await sleep(2)
    const older = await store.get<string>(key)
    const mine = createOwnership(store, 'sluice-plant-1')
    await mine.isOurs()
    await comeBackWith({ [key]: older }, [])
    assert.equal(await mine.isOurs(), true)
    await comeBackWith({}, [key])
    assert.equal(await mine.isOurs(), true)
    assert.equal(await before.isOurs(), false, 'and it is written down again')
    await sleep(2)
    await createOwnership(store, 'sluice-plant-1').isOurs()
    assert.equal(await mine.isOurs(), false)
  })

  it('writes down again which filters its session has', async () => {
    const { store, comeBackWith } = forgetful()
    const key = filtersKey('sluice-plant-1')
    const settings = { name: 'plant', topics: ['a/#', 'b/#'], qos: 1, retained: 'once' } as const
    const options = { settings, clientId: 'sluice-plant-1', store, log: silent, metrics: uncounted }
    const subscriptions = new Subscriptions(options)
    const connection = {
      sessionPresent: false,
      version: 5,
      limits: {},
      subscribe: async (filters: readonly unknown[]) => filters.map(() => 1),
      unsubscribe: async () => {},
    } as unknown as Connection
    await subscriptions.apply(connection)
    await comeBackWith({ [key]: ['old/#'] }, [])
    await until('they are there', async () => JSON.stringify(await store.get(key)) === '["a/#","b/#"]')
  })
})
