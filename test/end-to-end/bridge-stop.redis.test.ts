import { deepEqual, equal } from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { mqttClient } from '../support/mqtt.ts'
import { startRedis } from '../support/redis.ts'
import { logLines, ready, sluice, writeFiles } from '../support/sluice.ts'

test(
  'a bridge that is stopped under load says goodbye to Mosquitto, and no message comes twice',
  { timeout: 90_000 },
  async (context) => {
    const [broker, redis, folder] = await Promise.all([
      startMosquitto(context),
      startRedis(context),
      temporaryFolder(context),
    ])
    const config = await writeFiles(folder, {
      'sluice.yaml': {
        queue: redis.url,
        listen: { http: { port: await freePort() } },
        log: { level: 'debug' },
        bridges: [{ name: 'plant', url: broker.url, topics: ['devices/#'] }],
      },
      'rules/all.yaml': 'from: devices/#\nto: [{ worker: out }]\n',
      'workers/out.yaml': { kind: 'file', path: './out.ndjson' },
    })
    const startIngest = async (said: string) => {
      const ingest = sluice(context, config, ['ingest'])
      await ready(ingest)
      await until(`the bridge is ${said}`, () => logLines(ingest).some(({ msg }) => msg === said), 30_000)
      return ingest
    }
    let ingest = await startIngest('subscribed')
    const publisher = await mqttClient(context, broker.url)
    let count = 0
    const loaded = new AbortController()
    context.after(() => loaded.abort())
    const lanes = Array.from({ length: 200 }, async () => {
      while (!loaded.signal.aborted) {
        await publisher.publishAsync(`devices/d-${count % 50}/t`, JSON.stringify({ n: (count += 1) }), { qos: 1 })
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    })
    for (let stop = 0; stop < 3; stop += 1) {
      if (stop > 0) ingest = await startIngest('connected')
      const from = count
      await until('it is busy', () => count > from + 1_000)
      const before = broker.output().length
      equal(await ingest.stop(), 0, ingest.output())
      const said =
        broker
          .output()
          .slice(before)
          .match(/Client sluice-plant-1 .*/g) ?? []
      deepEqual(said, ['Client sluice-plant-1 disconnected.'])
    }
    loaded.abort()
    await Promise.all(lanes)

    const running = sluice(context, config, ['start'])
    await ready(running, 2)
    const delivered = async (): Promise<readonly number[]> => {
      const text = await readFile(join(folder, 'workers', 'out.ndjson'), 'utf8').catch(() => '')
      const whole = text.slice(0, text.lastIndexOf('\n') + 1).split('\n')
      return whole.filter((line) => line !== '').map((line) => (JSON.parse(line) as { n: number }).n)
    }
    await until(`all of ${count}`, async () => new Set(await delivered()).size === count, 60_000)
    equal((await delivered()).length, count, 'each came once')
    equal(await running.stop(), 0, running.output())
  },
)
