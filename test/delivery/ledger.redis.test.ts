import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Redis } from 'ioredis'
import type { LedgerStore } from '../../src/core/ledger.ts'
import { silent } from '../../src/core/log.ts'
import { createLedger } from '../../src/delivery/ledger.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { testLedger } from '../conformance/ledger.ts'
import { until } from '../support/cleanup.ts'
import { envelopeOf } from '../support/delivery.ts'
import { startRedis } from '../support/redis.ts'

testLedger({
  name: 'Redis',
  async prepare(scope) {
    const { url } = await startRedis(scope)
    return { open: () => openRedisQueues({ url, role: 'ingest', log: silent, lockMs: 600, stalledCheckMs: 250 }) }
  },
})

test('what a Redis forgot between the word and the end of a job is written again: its end goes out on the next connection', async (t) => {
  const { url, port } = await startRedis(t)
  const admin = new Redis(port)
  t.after(() => admin.disconnect())
  const queues = await openRedisQueues({ url, role: 'ingest', log: silent })
  t.after(() => queues.close())
  const ledger = createLedger({ queues, workers: () => ['w'], log: silent })
  await ledger.report()

  // As if another node had taken over, that has the job and not what was just written.
  const store = queues.ledger as { leave: LedgerStore['leave'] }
  const leave = store.leave
  let forgotten = 0
  store.leave = async (queue, leaving, onlyEntered) => {
    await leave(queue, leaving, onlyEntered)
    if (onlyEntered === true) return
    forgotten += await admin.del('{sluice:w}:w:ledger:out')
    await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  }
  const work = { owner: 'w', part: 'work' } as const
  const entering = { tally: [['r', 'accepted', 1]] } as const
  await queues.add(work, [{ id: 'a1', data: envelopeOf(['m']), entering }])
  const consumer = queues.consume(work, async () => ({ kind: 'done', tally: [['r', 'delivered', 1]] }), {
    concurrency: 1,
  })
  await until('the job is gone', async () => (await admin.exists('{sluice:w}:w:a1')) === 0)
  await consumer.close(5_000)
  assert.equal(forgotten, 1)
  const { closed, rows } = await until('the ledger can be asked', () => ledger.report().catch(() => false as const))
  assert.deepEqual([closed, rows[0]?.accepted, rows[0]?.delivered], [true, 1, 1])
})
