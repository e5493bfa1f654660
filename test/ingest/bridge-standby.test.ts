import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Scope, temporaryFolder, until } from '../support/cleanup.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { mqttClient, publishMany } from '../support/mqtt.ts'
import { run, type Running } from '../support/process.ts'
import { startRedis } from '../support/redis.ts'

const program = fileURLToPath(new URL('../support/bridge-process.ts', import.meta.url))

interface Ingest extends Running {
  said: (text: RegExp) => Promise<unknown>
  accepted: () => Promise<readonly number[]>
}

interface Plant {
  /** Starts an ingest and waits until it says this. */
  start: (says: RegExp) => Promise<Ingest>
  publish: (from: number, to: number) => Promise<void>
  restartMosquitto: () => Promise<void>
  /** Waits until so many numbers have been accepted by any of them. */
  allOf: (count: number) => Promise<void>
}

/** A Mosquitto that can be restarted, and ingests of which one has the bridge and the others stand by. */
async function plant(scope: Scope): Promise<Plant> {
  const [redis, folder] = await Promise.all([startRedis(scope), temporaryFolder(scope)])
  let broker = await startMosquitto(scope)
  const files: string[] = []
  const accepted = async (file: string) =>
    (await readFile(file, 'utf8'))
      .split('\n')
      .filter((line) => line !== '')
      .map(Number)
  return {
    async start(says: RegExp) {
      const file = join(folder, `accepted-${files.length}`)
      files.push(file)
      const running = run(scope, process.execPath, [program, broker.url, redis.url, file, 'standby'])
      const said = (text: RegExp) => until(`${text} in: ${running.output()}`, () => text.test(running.output()))
      await said(says)
      return { ...running, said, accepted: () => accepted(file) }
    },
    async publish(from: number, to: number) {
      const client = await mqttClient(scope, broker.url)
      await publishMany(client, 'devices/d-1/t', to - from, from)
      await client.endAsync()
    },
    async restartMosquitto() {
      await broker.stop()
      broker = await startMosquitto(scope, { port: broker.port, folder: broker.folder })
    },
    async allOf(count: number) {
      await until(`all ${count}`, async () => {
        const had = new Set((await Promise.all(files.map(accepted))).flat())
        return Array.from({ length: count }, (_, number) => had.has(number)).every(Boolean)
      })
    },
  }
}

describe('ingests that stand by for one another', { concurrency: true }, () => {
  it('one is killed, and Mosquitto restarts before another has its place: nothing that it acknowledged is lost', async (t) => {
    const { start, publish, restartMosquitto, allOf } = await plant(t)
    const first = await start(/^subscribed/m)
    const second = await start(/^another ingest has the bridge; standing by/m)
    await publish(0, 200)
    await allOf(200)
    assert.deepEqual(await second.accepted(), [])
    const publishing = publish(200, 400)
    await first.stop('SIGKILL')
    await publishing
    await restartMosquitto()
    await publish(400, 600)
    await second.said(/^subscribed/m)
    await publish(600, 700)
    await allOf(700)
    // The session went on: nothing is there twice but what was on its way.
    const ids = second.output().match(/"clientId":"sluice-plant-\d+"/g)
    assert.deepEqual([...new Set(ids)], ['"clientId":"sluice-plant-1"'])
    assert.match(second.output(), /"sessionPresent":true/)
  })

  it('one is stopped: it leaves the session as it is, and the next goes on with it', async (t) => {
    const { start, publish, allOf } = await plant(t)
    const first = await start(/^subscribed/m)
    const second = await start(/^another ingest has the bridge; standing by/m)
    await publish(0, 100)
    const [code] = await Promise.all([first.stop(), publish(100, 300)])
    assert.equal(code, 0)
    assert.doesNotMatch(first.output(), /^leaving/m)
    await second.said(/^subscribed/m)
    await publish(300, 400)
    await allOf(400)
    // One that waits can be stopped too, and one that comes back waits.
    const third = await start(/^another ingest has the bridge; standing by/m)
    assert.equal(await third.stop(), 0)
  })
})
