import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { startLoad } from '../support/load.ts'
import { startReceiver } from '../support/receiver.ts'
import { startRedis } from '../support/redis.ts'
import { logLines, oneForEverything, post, ready, sluice, writeFiles } from '../support/sluice.ts'

const token = 'a-token-for-this-test'

/** A far side that takes requests and never answers. */
async function startHanging(context: TestContext) {
  const seen: string[] = []
  const server = createServer((request) => void seen.push(request.url ?? '')).listen(0, '127.0.0.1')
  await until('it listens', () => server.listening)
  context.after(() => (server.closeAllConnections(), server.close()))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}

/** One rule, one `http` worker, one principal without limits to speak of. */
async function sluiceFolder(context: TestContext, url: string, settings: Readonly<Record<string, unknown>> = {}) {
  const [folder, port] = [await temporaryFolder(context), await freePort()]
  const config = await writeFiles(folder, {
    'sluice.yaml': { listen: { http: { port } }, limits: { publishesPerSecond: 100_000 }, ...settings },
    'identity/all.yaml': oneForEverything(token),
    'rules/all.yaml': 'from: t\nto: [{ worker: hook }]\n',
    'workers/hook.yaml': { kind: 'http', url },
  })
  return { folder, port, config }
}

for (const queue of ['embedded', 'redis'] as const) {
  test(
    `SIGTERM under load (${queue}): exit 0, and what was acknowledged comes out`,
    { timeout: 60_000 },
    async (context) => {
      const receiver = await startReceiver(context, { delayMs: 5 })
      const url = queue === 'redis' ? (await startRedis(context)).url : 'embedded'
      const { folder, port, config } = await sluiceFolder(context, receiver.url, { queue: url })
      const parts = queue === 'redis' ? 2 : 1
      const first = sluice(context, config, ['start'])
      await ready(first, parts)
      const load = startLoad(port, token, 't')
      await until('some have come out', () => receiver.seen.size > 50)
      equal(await first.stop(), 0, first.output())
      await load.stop()
      ok(load.acknowledged.size > 50)
      equal(first.output().includes('did not stop in time'), false, first.output())
      equal(load.others.get(500), undefined)
      deepEqual(
        (await readdir(join(folder, 'data'))).filter((name) => name.endsWith('.sock')),
        [],
        'no socket is left behind',
      )

      const second = sluice(context, config, ['start'])
      await ready(second, parts)
      const missing = () => [...load.acknowledged].filter((body) => !receiver.seen.has(body))
      await until(`all of ${load.acknowledged.size}`, () => missing().length === 0, 30_000)
      equal(await second.stop(), 0, second.output())
    },
  )

  test(`with its HTTP port taken, start says so once and exits 1 (${queue})`, { timeout: 60_000 }, async (context) => {
    const other = createServer().listen(0, '127.0.0.1')
    await until('the other listens', () => other.listening)
    context.after(() => other.close())
    const { port } = other.address() as AddressInfo
    const url = queue === 'redis' ? (await startRedis(context)).url : 'embedded'
    const { config } = await sluiceFolder(context, 'http://127.0.0.1:9', { queue: url, listen: { http: { port } } })
    const running = sluice(context, config, ['start'])
    equal(await running.ended(), 1)
    equal(
      running.output().match(/^sluice: listen\.http: 127\.0\.0\.1:\d+ is taken: .*$/gm)?.length,
      1,
      running.output(),
    )
    equal(/ {4}at /.test(running.output()), false, 'no stack')
    if (queue === 'redis') match(running.output(), /ingest could not start/)
  })
}

test('what a worker has in hand is finished before it ends', { timeout: 30_000 }, async (context) => {
  const receiver = await startReceiver(context, { delayMs: 1_000 })
  const { port, config } = await sluiceFolder(context, receiver.url)
  const running = sluice(context, config, ['start'])
  await ready(running)
  equal((await post(port, token, 't', '{"n":1}')).status, 200)
  await until('it is under way', () => receiver.requests.length === 1)
  equal(receiver.seen.size, 0)
  equal(await running.stop(), 0)
  deepEqual([...receiver.seen], [['{"n":1}', 1]])
  equal(receiver.requests.length, 1)
})

test(
  'a far side that hangs holds a stop up to the deadline, and the message is kept',
  { timeout: 40_000 },
  async (context) => {
    const hanging = await startHanging(context)
    const { folder, port, config } = await sluiceFolder(context, hanging.url, { shutdown: '2s' })
    const running = sluice(context, config, ['start'])
    await ready(running)
    equal((await post(port, token, 't', '{"n":1}')).status, 200)
    await until('it is under way', () => hanging.seen.length === 1)
    equal(await running.stop(), 0, running.output())

    const receiver = await startReceiver(context)
    await writeFiles(folder, { 'workers/hook.yaml': { kind: 'http', url: receiver.url } })
    const again = sluice(context, config, ['start'])
    await ready(again)
    await until('it comes out after all', () => receiver.seen.has('{"n":1}'), 15_000)
    equal(await again.stop(), 0)
  },
)

test(
  'SIGTERM while starting ends the start, and a second SIGINT ends a stop at once',
  { timeout: 40_000 },
  async (context) => {
    const hanging = await startHanging(context)
    const { port, config } = await sluiceFolder(context, hanging.url, { shutdown: '10m' })
    const early = sluice(context, config, ['start'])
    // The first that it says is in the middle of its start.
    await until('it says something', () => logLines(early).length > 0 || early.child.exitCode !== null, 30_000)
    equal(await early.stop(), 0, early.output())

    const running = sluice(context, config, ['start'])
    await ready(running)
    equal((await post(port, token, 't', '{"n":1}')).status, 200)
    await until('it is under way', () => hanging.seen.length === 1)
    running.child.kill('SIGINT')
    await until('it stops', () => logLines(running).some(({ msg }) => String(msg).startsWith('stopping')))
    equal(running.child.exitCode, null)
    running.child.kill('SIGINT')
    equal(await running.ended(), 130)
  },
)
