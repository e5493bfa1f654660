import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { test } from 'node:test'
import { Redis } from 'ioredis'
import { QueueAwayError } from '../../src/core/errors.ts'
import { silent } from '../../src/core/log.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { RedisFile } from '../../src/queue/redis-file.ts'
import { until } from '../support/cleanup.ts'
import { startRedis } from '../support/redis.ts'
import { slowDisk } from '../support/slow-disk.ts'

const work = { owner: 'w', part: 'work' } as const
const doubtful = (error: unknown) => error instanceof QueueAwayError && error.inDoubt

test('Redis killed on a disk whose syncs take seconds: every add that was acknowledged is there', async (t) => {
  const server = await startRedis(t)
  const queues = await openRedisQueues({ url: server.url, role: 'ingest', log: silent })
  t.after(() => queues.close())
  const admin = new Redis(server.url, { retryStrategy: () => null })
  admin.on('error', () => {})
  t.after(() => admin.disconnect())
  const disk = await slowDisk(t, server.child.pid, 2_500)
  const acknowledged: string[] = []
  let count = 0
  const over = new AbortController()
  const adders = Array.from({ length: 100 }, async () => {
    while (!over.signal.aborted) {
      const id = `job-${(count += 1)}`
      await queues.add(work, [{ id, data: 'x'.repeat(200) }]).then(
        () => void acknowledged.push(id),
        () => new Promise((resolve) => setTimeout(resolve, 20)),
      )
    }
  })
  // A sync is under way, what is written is put off; the second time in the middle of that.
  let before = 0
  for (let round = 0; round < 2; round += 1) {
    await until('a sync is under way', async () => (await admin.info('persistence')).includes('bio_fsync:1'))
    before = acknowledged.length
    await until('more were acknowledged', () => acknowledged.length >= before + 100)
  }
  await new Promise((resolve) => setTimeout(resolve, 700))
  const dead = server.stop('SIGKILL')
  over.abort()
  await Promise.all([dead, disk.end()])
  await Promise.all(adders)

  await startRedis(t, { port: server.port, folder: server.folder })
  const there = await until('it is back', () =>
    queues.peek(work, 0, 100_000).then(
      (jobs) => new Set(jobs.map(({ id }) => id)),
      () => undefined,
    ),
  )
  const lost = acknowledged.filter((id) => !there.has(id))
  assert.equal(lost.length, 0, `${lost.length} of ${acknowledged.length} lost`)
  t.diagnostic(`${acknowledged.length} acknowledged`)
})

test('an append-only file that is switched off acknowledges nothing more', async (t) => {
  const { url } = await startRedis(t)
  const queues = await openRedisQueues({ url, role: 'ingest', log: silent, lookMs: 60_000 })
  t.after(() => queues.close())
  await queues.add(work, [{ id: 'a1', data: 1 }])
  const admin = new Redis(url)
  t.after(() => admin.disconnect())
  await admin.config('SET', 'appendonly', 'no')
  await assert.rejects(queues.add(work, [{ id: 'b1', data: 1 }]), doubtful)
})

/** A Redis that answers INFO from a list, the last one for ever: `bytes in its file + bytes in its buffer`, and the base. */
function telling(...looks: readonly (readonly [file: number, buffer: number, base?: number])[]) {
  let asked = 0
  const redis = Object.assign(new EventEmitter(), {
    async info(section: string) {
      assert.equal(section, 'persistence')
      const [bytes, buffer, base = 10] = looks[Math.min(asked, looks.length - 1)] ?? assert.fail()
      asked += 1
      return `# Persistence\r\naof_enabled:1\r\naof_current_size:${bytes}\r\naof_base_size:${base}\r\naof_buffer_length:${buffer}\r\n`
    },
  })
  const file = new RedisFile(redis as unknown as Redis, { acceptLoss: false, writeMs: 200 })
  return { redis, asked: () => asked, hold: () => file.hold(async () => 'answer') }
}

for (const [what, looks, wanted] of [
  ['with an empty buffer it is written', [[100, 0]], 1],
  [
    'what is put off is waited for',
    [
      [100, 50],
      [100, 50],
      [150, 0],
    ],
    3,
  ],
  [
    'what others write after it is not waited for',
    [
      [100, 50],
      [100, 90],
      [150, 40],
    ],
    3,
  ],
  [
    'a part of it is not enough',
    [
      [100, 50],
      [140, 60],
      [160, 40],
    ],
    3,
  ],
  [
    'after a rewrite the ends of the old file say nothing',
    [
      [100, 50],
      [200, 40, 90],
      [230, 40, 90],
      [240, 30, 90],
    ],
    4,
  ],
  [
    'nor where the new base is as long',
    [
      [100, 50],
      [40, 80],
      [110, 80],
      [120, 80],
    ],
    4,
  ],
] as const) {
  test(`Redis' file: ${what}`, async () => {
    const { hold, asked } = telling(...looks)
    assert.equal(await hold(), 'answer')
    assert.equal(asked(), wanted)
  })
}

test("Redis' file: one look serves all that wait, and who comes during one waits for the next", async () => {
  const { hold, asked } = telling([100, 0])
  await Promise.all([hold(), hold(), hold()])
  assert.ok(asked() <= 2, `${asked()} looks`)
})

test("Redis' file: what is not written in time is in doubt, and so is what a lost connection answered", async () => {
  await assert.rejects(telling([100, 50]).hold(), doubtful)
  const { redis, hold } = telling([100, 50])
  const held = hold()
  const rejected = assert.rejects(held, doubtful)
  setTimeout(() => redis.emit('close'), 20)
  await rejected
})
