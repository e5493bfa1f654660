import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { Redis } from 'ioredis'
import { silent } from '../../src/core/log.ts'
import { openRedisQueues, type RedisQueuesOptions } from '../../src/queue/redis.ts'
import { readRedisUrl } from '../../src/queue/redis-options.ts'
import { until } from '../support/cleanup.ts'
import { keepLines } from '../support/logs.ts'
import { startRedis } from '../support/redis.ts'

async function open(t: TestContext, options: Partial<RedisQueuesOptions> & { readonly url: string }) {
  const queues = await openRedisQueues({ role: 'ingest', log: silent, ...options })
  t.after(() => queues.close())
  return queues
}

test('a Redis that evicts is refused, unless loss is accepted', async (t) => {
  const { url } = await startRedis(t, { parameters: ['--maxmemory-policy', 'allkeys-lru'] })
  for (const role of ['ingest', 'worker'] as const) {
    await assert.rejects(open(t, { url, role }), {
      code: 'QUEUE_UNSAFE',
      message: /maxmemory-policy is allkeys-lru; set it to noeviction/,
    })
  }
  await (await open(t, { url, acceptLoss: true })).ping()
})

test('a Redis without an append-only file is refused, unless loss is accepted', async (t) => {
  const { url } = await startRedis(t, { parameters: ['--appendonly', 'no'] })
  await assert.rejects(open(t, { url }), { code: 'QUEUE_UNSAFE', message: /appendonly yes/ })
  await (await open(t, { url, acceptLoss: true })).ping()
})

test('fsync wants appendfsync always, whatever loss is accepted', async (t) => {
  const everysec = await startRedis(t)
  for (const acceptLoss of [false, true]) {
    await assert.rejects(open(t, { url: everysec.url, durability: 'fsync', acceptLoss }), {
      code: 'QUEUE_UNSAFE',
      message: /appendfsync always/,
    })
  }
  const always = await startRedis(t, { parameters: ['--appendfsync', 'always'] })
  const queues = await open(t, { url: always.url, durability: 'fsync' })
  await queues.add({ owner: 'w', part: 'work' }, [{ id: 'a1', data: 1 }])
  assert.equal(queues.durability, 'fsync')
  assert.match(queues.describe, /survives a power failure/)
})

test('replicated wants a replica, and an add is done when it has it', async (t) => {
  const primary = await startRedis(t, { parameters: ['--repl-diskless-sync-delay', '0'] })
  await assert.rejects(open(t, { url: primary.url, durability: 'replicated' }), {
    code: 'QUEUE_UNSAFE',
    message: /replica/,
  })
  const replica = await startRedis(t, { parameters: ['--replicaof', '127.0.0.1', String(primary.port)] })
  const admin = new Redis(primary.url)
  t.after(() => admin.disconnect())
  await until('it is connected', async () => /state=online/.test(await admin.info('replication')))
  const queues = await open(t, { url: primary.url, durability: 'replicated', timeoutMs: 500 })
  const work = { owner: 'w', part: 'work' } as const
  await until('the replica has loaded', () =>
    queues.add(work, [{ id: 'a1', data: 1 }]).then(
      () => true,
      () => false,
    ),
  )
  const copy = new Redis(replica.url)
  t.after(() => copy.disconnect())
  assert.equal(await copy.exists('{sluice:w}:w:a1'), 1)
  copy.disconnect()
  await replica.stop('SIGKILL')
  await assert.rejects(queues.add(work, [{ id: 'b1', data: 1 }]), { code: 'QUEUE_AWAY', inDoubt: true })
})

test('a Redis that becomes unsafe is not used any more', async (t) => {
  const server = await startRedis(t)
  const queues = await open(t, { url: server.url })
  await queues.ping()
  await server.stop('SIGKILL')
  await startRedis(t, { port: server.port, parameters: ['--maxmemory-policy', 'allkeys-random'] })
  await until('it is found out', () =>
    queues.add({ owner: 'w', part: 'work' }, [{ id: 'a1', data: 1 }]).then(
      () => assert.fail('it was used'),
      (error: unknown) => error instanceof Error && 'code' in error && error.code === 'QUEUE_UNSAFE',
    ),
  )
  await assert.rejects(queues.ping(), { code: 'QUEUE_UNSAFE' })
})

test('a Redis that becomes unsafe while it runs takes nothing, says why, and is used again when it is mended', async (t) => {
  const { url } = await startRedis(t)
  const log = keepLines()
  const queues = await open(t, { url, log, lookMs: 200 })
  const admin = new Redis(url)
  t.after(() => admin.disconnect())
  const work = { owner: 'w', part: 'work' } as const
  const found = (condition: () => boolean) => until('it is found out', condition, 8_000)
  // So much that making a file of it takes seconds.
  await admin.mset(Array.from({ length: 300 }, (_, index) => [`key-${index}`, 'x']).flat())

  for (const [[setting, unsafe, safe], complaint] of [
    [
      ['maxmemory-policy', 'allkeys-lru', 'noeviction'],
      /may throw queued messages away: maxmemory-policy is allkeys-lru/,
    ],
    [['appendonly', 'no', 'yes'], /keeps no append-only file/],
  ] as const) {
    assert.match(queues.describe, /: an acknowledged message survives/)
    await admin.config('SET', setting, unsafe)
    await found(() => complaint.test(queues.describe))
    assert.doesNotMatch(queues.describe, /survives/)
    await assert.rejects(queues.add(work, [{ id: 'a1', data: 1 }]), { code: 'QUEUE_UNSAFE', message: complaint })
    await assert.rejects(queues.ping(), { code: 'QUEUE_UNSAFE', message: complaint })
    if (setting === 'appendonly') await admin.config('SET', 'rdb-key-save-delay', '5000')
    await admin.config('SET', setting, safe)
    if (setting === 'appendonly') {
      await found(() => /still making its append-only file/.test(queues.describe))
      // A start meanwhile is told the same.
      await assert.rejects(open(t, { url }), { code: 'QUEUE_UNSAFE', message: /still making/ })
    }
    await found(() => /: an acknowledged message survives/.test(queues.describe))
    await queues.add(work, [{ id: 'a1', data: 1 }])
    await queues.ping()
  }
  assert.deepEqual(
    log.lines.map(({ level, message }) => [level, message.slice(0, 24)]),
    [
      ['error', 'Redis may throw queued m'],
      ['info', 'Redis is safe again'],
      ['error', 'Redis keeps no append-on'],
      ['error', 'Redis is still making it'],
      ['info', 'Redis is safe again'],
    ],
  )
})

test('what lies in a Redis that becomes unsafe is worked off', async (t) => {
  const { url } = await startRedis(t)
  const admin = new Redis(url)
  t.after(() => admin.disconnect())
  const ingest = await open(t, { url })
  const worker = await open(t, { url, role: 'worker', lookMs: 50 })
  const entering = { tally: [['r', 'accepted', 1]] } as const
  await ingest.add(
    { owner: 'w', part: 'work' },
    ['a1', 'b1', 'c1'].map((id) => ({ id, data: id, entering })),
  )
  await admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
  await until('it is found', () => worker.describe.includes('allkeys-lru'))
  assert.doesNotMatch(worker.describe, /survives/)
  const consumer = worker.consume<string>(
    { owner: 'w', part: 'work' },
    async ({ data }) => {
      if (data === 'a1') await worker.add({ owner: 'w', part: 'failures' }, [{ id: 'f1', data: 'a1', entering }])
      return { kind: 'done', tally: [['r', 'delivered', 1]] }
    },
    { concurrency: 1 },
  )
  await until('nothing is left', async () => (await admin.exists('{sluice:w}:w:wait', '{sluice:w}:w:active')) === 0)
  await consumer.close(5_000)
  assert.equal(await admin.llen('{sluice:w}:w.failures:wait'), 1)
})

test('a Redis URL that is none is told without its password', () => {
  for (const url of ['http://user:hunter2@host', 'redis://', 'hunter2', 'redis://:hunter2@host/db']) {
    assert.throws(
      () => readRedisUrl(url),
      (error: unknown) => error instanceof Error && !error.message.includes('hunter2'),
    )
  }
  assert.partialDeepStrictEqual(readRedisUrl('redis://us%20er:p%40ss@[::1]:7000/3').target, {
    host: '::1',
    port: 7000,
    username: 'us er',
    password: 'p@ss',
    db: 3,
  })
  assert.equal(readRedisUrl('redis://user:hunter2@host').label, 'redis://host:6379')
})
