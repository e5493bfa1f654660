import { deepEqual, equal, match } from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Redis } from 'ioredis'
import { callControl } from '../../src/admin/client.ts'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { startRedis } from '../support/redis.ts'
import { oneForEverything, post, ready, said, sluice, writeFiles } from '../support/sluice.ts'

const token = 'a-token-for-this-test'

const keepEverything = {
  'identity/all.yaml': oneForEverything(token),
  'rules/all.yaml': 'from: t/#\nto: [{ worker: archive }]\n',
  'workers/archive.yaml': { kind: 'file', path: '../archive.ndjson' },
}

test(
  'with Redis away HTTP says 503, and all recovers by itself; what was answered 503 does not arrive later, unless counted as in doubt',
  { timeout: 90_000 },
  async (context) => {
    const [folder, port] = [await temporaryFolder(context), await freePort()]
    const first = await startRedis(context)
    const config = await writeFiles(folder, {
      'sluice.yaml': { listen: { http: { port } }, queue: first.url, limits: { publishesPerSecond: 10_000 } },
      ...keepEverything,
    })
    const ingest = sluice(context, config, ['ingest'])
    const worker = sluice(context, config, ['worker', 'archive'])
    await Promise.all([ready(ingest), ready(worker)])
    const health = async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).status
    equal(await health(), 200)
    equal((await post(port, token, 't/1', '{"n":1}')).status, 200)

    await first.stop('SIGKILL')
    const refused: number[] = []
    for (let n = 100; n < 110; n++) {
      const answer = await post(port, token, 't/away', JSON.stringify({ n }))
      equal(answer.status, 503)
      match(answer.retryAfter ?? '', /^\d+$/)
      refused.push(n)
    }
    equal(await health(), 503)
    equal(ingest.child.exitCode, null)
    equal(worker.child.exitCode, null)

    const again = await startRedis(context, { port: first.port, folder: first.folder })
    await until('ready again', async () => (await health()) === 200, 30_000)
    equal((await post(port, token, 't/2', '{"n":2}')).status, 200)
    const archive = async () =>
      (await readFile(join(folder, 'archive.ndjson'), 'utf8').catch(() => '')).split('\n').filter((line) => line !== '')
    const numbers = async () => (await archive()).map((line) => (JSON.parse(line) as { n: number }).n)
    await until('the second message in the archive', async () => (await numbers()).includes(2), 30_000)

    const metrics = String((await callControl(join(folder, 'data/control.sock'), 'GET', '/metrics')).body)
    const inDoubt = Number(/^sluice_messages_in_doubt_total\{door="http"\} (\d+)/m.exec(metrics)?.[1] ?? 0)
    const late = (await numbers()).filter((n) => refused.includes(n))
    equal(late.length <= inDoubt, true, `${late.length} came late, ${inDoubt} were in doubt`)
    deepEqual(
      [...new Set(await numbers())].filter((n) => n < 100),
      [1, 2],
    )
    for (const running of [ingest, worker, again]) equal(await running.stop(), 0, running.output())
  },
)

test(
  'Redis absent at start: it starts, says that it is not ready, and takes messages once Redis is there',
  { timeout: 60_000 },
  async (context) => {
    const [folder, port, redisPort] = [await temporaryFolder(context), await freePort(), await freePort()]
    const config = await writeFiles(folder, {
      'sluice.yaml': { listen: { http: { port } }, queue: `redis://127.0.0.1:${redisPort}` },
      ...keepEverything,
    })
    const ingest = sluice(context, config, ['ingest'])
    await said(ingest, 'started, but not ready')
    equal((await post(port, token, 't/1', '{}')).status, 503)
    const health = sluice(context, config, ['health'])
    equal(await health.ended(), 1)
    match(health.output(), /not ready: /)
    await startRedis(context, { port: redisPort })
    await until('a message is taken', async () => (await post(port, token, 't/1', '{}')).status === 200, 30_000)
    await ready(ingest)
  },
)

test(
  'ready is said when a publish would be acknowledged: not with a wrong password, and no more when Redis is full',
  { timeout: 60_000 },
  async (context) => {
    const [folder, port] = [await temporaryFolder(context), await freePort()]
    const redis = await startRedis(context, { parameters: ['--requirepass', 'old'] })
    const config = await writeFiles(folder, {
      'sluice.yaml': { listen: { http: { port } }, queue: `redis://:new@127.0.0.1:${redis.port}` },
      ...keepEverything,
    })
    const readyz = async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).status
    const publish = async () => (await post(port, token, 't/1', '{}')).status
    const queueOf = async () =>
      ((await callControl(join(folder, 'data/control.sock'), 'GET', '/status')).body as { queue: string }).queue
    const ingest = sluice(context, config, ['ingest'])
    await said(ingest, 'started, but not ready')
    equal(await readyz(), 503)
    match(await queueOf(), /cannot be reached: WRONGPASS/)
    equal(/survives/.test(ingest.output()), false, ingest.output())

    const admin = new Redis({ port: redis.port, password: 'old' })
    context.after(() => admin.disconnect())
    await admin.config('SET', 'requirepass', 'new')
    await ready(ingest)
    match(ingest.output(), /survives the death of any process/)
    equal(await readyz(), 200)
    equal(await publish(), 200)

    await admin.config('SET', 'maxmemory', '1')
    await until('it is full', async () => (await readyz()) === 503)
    equal(await publish(), 503)
    await admin.config('SET', 'maxmemory', '0')
    await until('there is room', async () => (await readyz()) === 200)
    equal(await publish(), 200)
  },
)

test('a Redis that evicts is refused, with what to set', async (context) => {
  const folder = await temporaryFolder(context)
  const redis = await startRedis(context, { parameters: ['--maxmemory-policy', 'allkeys-lru'] })
  const config = await writeFiles(folder, { 'sluice.yaml': { listen: {}, queue: redis.url } })
  const ingest = sluice(context, config, ['ingest'])
  equal(await ingest.ended(), 1)
  match(ingest.output(), /maxmemory-policy.*noeviction/)
})
