import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { startBridge } from '../../support/bridge.ts'
import { until } from '../../support/cleanup.ts'
import { createMemoryQueues } from '../../support/memory-queues.ts'
import { startMosquitto } from '../../support/mosquitto.ts'
import { mqttClient, publishMany } from '../../support/mqtt.ts'

const numbers = (count: number) => Array.from({ length: count }, (_, number) => String(number))

describe('Mosquitto restarts, and its devices are back before the bridge', () => {
  for (const [what, filters] of [
    ['one ingest', [['devices/#']]],
    // The form for several ingests that loses nothing there: each its own topics, by a bridge of its own.
    ['two ingests that divide the topics', [['devices/a/#'], ['devices/b/#']]],
  ] as const) {
    it(`${what}: nothing that it acknowledged meanwhile is lost`, async (t) => {
      let broker = await startMosquitto(t)
      const stores = filters.map(() => createMemoryQueues().store)
      const startAll = () =>
        Promise.all(
          filters.map((topics, index) => {
            const store = stores[index] ?? assert.fail()
            return startBridge(t, broker.url, { name: `plant-${index}`, topics }, { store })
          }),
        )
      const publish = async (from: number, to: number) => {
        const client = await mqttClient(t, broker.url)
        for (const topic of ['devices/a/t', 'devices/b/t']) await publishMany(client, topic, to - from, from)
        await client.endAsync()
      }
      const before = await startAll()
      await publish(0, 50)
      await until('they have it', () => before.reduce((sum, { taken }) => sum + taken().length, 0) === 100)
      await Promise.all(before.map(({ bridge }) => bridge.stop()))
      await publish(50, 100)
      await broker.stop()
      broker = await startMosquitto(t, { port: broker.port, folder: broker.folder })
      await publish(100, 150)
      const after = await startAll()
      await publish(150, 200)
      const missing = (topic: string) => {
        const taken = [...before, ...after].flatMap((made) => made.taken()).filter((one) => one.topic === topic)
        const had = new Set(taken.map(({ payload }) => payload.toString()))
        return numbers(200).filter((number) => !had.has(number))
      }
      for (const topic of ['devices/a/t', 'devices/b/t'])
        await until(`all of ${topic}`, () => missing(topic).length === 0)
    })
  }
})
