import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { silent } from '../../src/core/log.ts'
import { openEmbeddedQueues } from '../../src/queue/embedded.ts'
import { EmbeddedDatabase } from '../../src/queue/embedded-database.ts'
import { tidy } from '../../src/queue/housekeeping.ts'
import { startHolder } from '../conformance/queue.ts'
import { temporaryFolder, until } from '../support/cleanup.ts'
import { run } from '../support/process.ts'

const work = { owner: 'w', part: 'work' } as const

test('data is forced to the disk for every add that resolves', async (t) => {
  const folder = await temporaryFolder(t)
  const queues = await openEmbeddedQueues({ folder, log: silent })
  t.after(() => queues.close())
  assert.equal(queues.durability, 'fsync')
  await queues.add(work, [{ id: 'first-1', data: 1 }])
  const before = await queues.syncs()
  for (let count = 0; count < 20; count += 1) await queues.add(work, [{ id: `one-${count}`, data: 1 }])
  assert.ok((await queues.syncs()) - before >= 20)

  await t.test('timers go on while it is busy', async () => {
    let ticks = 0
    const timer = setInterval(() => (ticks += 1), 5)
    const many = Array.from({ length: 50 }, (_, index) => ({ id: `many-${index}`, data: 'x'.repeat(1_000) }))
    const consumer = queues.consume(work, async () => ({ kind: 'done' }), { concurrency: 4 })
    for (let round = 0; round < 10; round += 1)
      await queues.add(
        work,
        many.map(({ id, data }) => ({ id: `${id}-${round}`, data })),
      )
    await until('all are done', async () => Object.values(await queues.counts(work)).every((count) => count === 0))
    clearInterval(timer)
    await consumer.close(5_000)
    assert.ok(ticks >= 20, `${ticks} ticks`)
  })

  await t.test('a second start is told who holds it; the first one is not disturbed', async () => {
    await assert.rejects(openEmbeddedQueues({ folder, log: silent }), {
      code: 'QUEUE_HELD',
      message: new RegExp(`held by process ${process.pid} on `),
    })
    const second = startHolder(t, { kind: 'embedded', folder }, 'w')
    assert.equal(await second.ended(), 1)
    assert.match(second.output(), new RegExp(`held by process ${process.pid} on `))
    await queues.ping()
  })

  await t.test('killed while adding: everything it acknowledged is there', async () => {
    await queues.close()
    const adder = run(t, process.execPath, [
      fileURLToPath(new URL('../support/queue-adder.ts', import.meta.url)),
      folder,
      'killed',
    ])
    await until('it added some', () => adder.output().split('\n').length > 300)
    await adder.stop('SIGKILL')
    const acknowledged = adder.output().split('\n').slice(0, -1)
    const again = await openEmbeddedQueues({ folder, log: silent })
    const there = new Set((await again.peek({ owner: 'killed', part: 'work' }, 0, 10_000)).map(({ id }) => id))
    await again.close()
    assert.deepEqual(
      acknowledged.filter((id) => !there.has(id)),
      [],
    )
  })

  await t.test('tidying up takes away what nobody reads, and leaves the jobs', async () => {
    const database = new EmbeddedDatabase(join(folder, 'pg'), silent, async () => {})
    await database.open()
    const count = async (table: string) => (await database.query(`SELECT count(*)::int AS n FROM ${table}`)).rows
    const jobs = await count('bullmq.job')
    await tidy(database)
    assert.deepEqual(await count('bullmq.event'), [{ n: 0 }])
    assert.deepEqual(await count('bullmq.job'), jobs)
    await database.close()
  })
})
