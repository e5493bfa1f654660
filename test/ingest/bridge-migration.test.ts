import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { connect } from 'mqtt'
import type { BridgeSettings } from '../../src/ingest/mqtt-bridge.ts'
import { startBridge } from '../support/bridge.ts'
import { type Scope, until } from '../support/cleanup.ts'
import { fakeAccept } from '../support/doors.ts'
import { createMemoryQueues } from '../support/memory-queues.ts'
import { type MosquittoServer, startMosquitto } from '../support/mosquitto.ts'
import { mqttClient, publishMany } from '../support/mqtt.ts'

const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index))

/** Whether the broker has a session for this client id; it has none afterwards. */
async function hasSession(scope: Scope, broker: MosquittoServer, clientId: string): Promise<boolean> {
  const client = connect(broker.url, { clientId, clean: false, reconnectPeriod: 0, protocolVersion: 5 })
  scope.after(() => client.endAsync(true))
  const [{ sessionPresent }] = (await once(client as unknown as NodeJS.EventEmitter, 'connect')) as [
    { sessionPresent: boolean },
  ]
  await client.endAsync()
  return sessionPresent
}

describe('a bridge whose client id or share has changed takes over what its old session holds', () => {
  const changes: readonly [what: string, before: Partial<BridgeSettings>, after: Partial<BridgeSettings>][] = [
    ['share is dropped', { share: 'sluice' }, {}],
    ['share is added', {}, { share: 'sluice' }],
    ['share has another name', { share: 'one' }, { share: 'other' }],
    ['the client id is another', { clientId: 'old' }, { clientId: 'new' }],
    ['the client id is left out', { clientId: 'old' }, {}],
    ['the client id is left out, and share is added', { clientId: 'old' }, { share: 'sluice' }],
    ['share is dropped for a client id', { share: 'sluice' }, { clientId: 'new' }],
    ['the topics change, too', { clientId: 'old', topics: ['#'] }, { clientId: 'new' }],
  ]
  for (const [what, before, after] of changes) {
    it(what, async (t) => {
      const broker = await startMosquitto(t)
      const queues = createMemoryQueues()
      const first = await startBridge(t, broker.url, before, queues)
      const oldId = first.bridge.state().clientId ?? ''
      const publisher = await mqttClient(t, broker.url)
      await publishMany(publisher, 'devices/d-1/t', 1)
      await until('one message', () => first.payloads().length === 1)
      await first.bridge.stop()
      await publishMany(publisher, 'devices/d-1/t', 200)
      const second = await startBridge(t, broker.url, { ...after, receiveMaximum: 20 }, queues)
      await publishMany(publisher, 'devices/d-1/t', 100, 200)
      await until('all of 300', () => new Set(second.payloads()).size === 300)
      const newId = second.bridge.state().clientId ?? ''
      if (newId === oldId) return
      await until('the old session to be gone', () => second.lines.some((line) => line.startsWith('took over')))
      assert.deepEqual(
        second.payloads().toSorted((a, b) => Number(a) - Number(b)),
        numbers(300),
      )
      assert.equal(await queues.store.get(`bridge/${oldId}/filters`), undefined)
      assert.equal(second.metrics.total('sluice_bridge_sessions_lost_total'), 0)
      await publishMany(publisher, 'devices/d-1/t', 1, 300)
      await until('the next', () => second.payloads().includes('300'))
      assert.equal(second.payloads().filter((payload) => payload === '300').length, 1)
      assert.equal(await hasSession(t, broker, oldId), false)
    })
  }

  it('also what the last of several ingests has kept, whichever slot it had', async (t) => {
    const broker = await startMosquitto(t)
    const queues = createMemoryQueues()
    const [one, two] = [
      await startBridge(t, broker.url, { share: 'sluice' }, queues),
      await startBridge(t, broker.url, { share: 'sluice' }, queues),
    ]
    await one.bridge.stop()
    await two.bridge.stop()
    const publisher = await mqttClient(t, broker.url)
    await publishMany(publisher, 'devices/d-1/t', 100)
    const alone = await startBridge(t, broker.url, {}, queues)
    assert.equal(alone.bridge.state().clientId, 'sluice-plant-1')
    await until('all of 100', () => alone.payloads().length === 100)
    assert.deepEqual(alone.payloads(), numbers(100))
  })

  it('goes on with the next start where it was cut off in the middle', async (t) => {
    const broker = await startMosquitto(t)
    const queues = createMemoryQueues()
    const first = await startBridge(t, broker.url, { clientId: 'old' }, queues)
    await first.bridge.stop()
    await publishMany(await mqttClient(t, broker.url), 'devices/d-1/t', 100)
    const door = fakeAccept()
    door.hold(({ payload }) => Number(payload.toString()) >= 30)
    const second = await startBridge(t, broker.url, { receiveMaximum: 10 }, { ...queues, door })
    await until('it is in the middle', () => second.taken().length > 32)
    await second.bridge.stop({ deadlineMs: 0 })
    assert.notEqual(await queues.store.get('bridge/old/filters'), undefined)
    const third = await startBridge(t, broker.url, {}, queues)
    await until('the rest', () => new Set([...numbers(30), ...third.payloads()]).size === 100)
    await until('the old session to be gone', () => third.lines.some((line) => line.startsWith('took over')))
    assert.equal(await queues.store.get('bridge/old/filters'), undefined)
  })

  it('leaves alone what another ingest uses, and those who take turns', async (t) => {
    const broker = await startMosquitto(t)
    const queues = createMemoryQueues()
    const other = await startBridge(t, broker.url, { clientId: 'other', share: 'sluice' }, queues)
    const [one, two] = [
      await startBridge(t, broker.url, { share: 'sluice' }, queues),
      await startBridge(t, broker.url, { share: 'sluice' }, queues),
    ]
    await new Promise((resolve) => setTimeout(resolve, 1_200))
    for (const { bridge, lines } of [other, one, two]) {
      assert.equal(bridge.state().connected, true)
      assert.equal(lines.filter((line) => line.startsWith('connected')).length, 1, lines.join('\n'))
    }
  })
})
