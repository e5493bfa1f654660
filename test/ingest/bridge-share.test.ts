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

interface Cluster {
  /** Starts an ingest and waits until it has its subscription. */
  start: () => Promise<Running & { readonly slot: number }>
  publish: (from: number, to: number) => Promise<void>
  /** What has been accepted by any of them, each once. */
  accepted: () => Promise<ReadonlySet<number>>
}

async function cluster(scope: Scope): Promise<Cluster> {
  const [broker, redis, folder] = await Promise.all([startMosquitto(scope), startRedis(scope), temporaryFolder(scope)])
  const publisher = await mqttClient(scope, broker.url)
  const files: string[] = []
  return {
    async start() {
      const file = join(folder, `accepted-${files.length}`)
      files.push(file)
      const running = run(scope, process.execPath, [program, broker.url, redis.url, file])
      await until(`a subscription; it said: ${running.output()}`, () => /^subscribed/m.test(running.output()))
      const slot = Number(/"clientId":"sluice-plant-(?<slot>\d+)"/.exec(running.output())?.groups?.['slot'])
      return { ...running, slot }
    },
    publish: (from, to) => publishMany(publisher, 'devices/d-1/t', to - from, from),
    async accepted() {
      const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')))
      return new Set(texts.flatMap((text) => text.split('\n').filter((line) => line !== '')).map(Number))
    },
  }
}

const missing = (accepted: ReadonlySet<number>, count: number): number[] =>
  Array.from({ length: count }, (_, number) => number).filter((number) => !accepted.has(number))

describe('three ingests share a bridge', { concurrency: true }, () => {
  it('one is stopped cleanly: it takes what it has, and the others get the rest', async (t) => {
    const { start, publish, accepted } = await cluster(t)
    const [, second] = [await start(), await start(), await start()]
    await publish(0, 500)
    const [code] = await Promise.all([second.stop('SIGTERM'), publish(500, 1_000)])
    assert.equal(code, 0)
    assert.match(second.output(), /^leaving/m)
    await publish(1_000, 1_200)
    await until('all 1,200', async () => missing(await accepted(), 1_200).length === 0)
  })

  it('one is killed and replaced: its session goes on, and nothing is missing', async (t) => {
    const { start, publish, accepted } = await cluster(t)
    const [first, second] = [await start(), await start(), await start()]
    assert.deepEqual([first.slot, second.slot], [1, 2])
    const publishing = publish(0, 1_000)
    await second.stop('SIGKILL')
    const replacement = await start()
    assert.equal(replacement.slot, 2)
    await publishing
    await publish(1_000, 1_200)
    await until('all 1,200', async () => missing(await accepted(), 1_200).length === 0)
  })

  it('one is killed and not replaced: its share waits at the broker until one comes', async (t) => {
    const { start, publish, accepted } = await cluster(t)
    const [, second] = [await start(), await start(), await start()]
    await publish(0, 300)
    await until('all 300', async () => missing(await accepted(), 300).length === 0)
    await second.stop('SIGKILL')
    await publish(300, 600)
    let count = -1
    await until('the others to have all that they get', async () => {
      const before = count
      count = (await accepted()).size
      await new Promise((resolve) => setTimeout(resolve, 300))
      return count === before
    })
    // Mosquitto goes on dealing to the session of the one that died.
    assert.ok(count < 600, `${count} of 600`)
    assert.equal((await start()).slot, 2)
    await until('all 600', async () => missing(await accepted(), 600).length === 0)
  })

  it('all are stopped: the last keeps its session, so what comes meanwhile is not lost', async (t) => {
    const { start, publish, accepted } = await cluster(t)
    const all = [await start(), await start(), await start()]
    await publish(0, 300)
    assert.deepEqual(await Promise.all(all.map((one) => one.stop('SIGTERM'))), [0, 0, 0])
    assert.equal(all.filter((one) => /^leaving/m.test(one.output())).length, 2)
    await publish(300, 600)
    const [kept] = all.filter((one) => !/^leaving/m.test(one.output()))
    assert.equal((await start()).slot, kept?.slot)
    await until('all 600', async () => missing(await accepted(), 600).length === 0)
  })
})
