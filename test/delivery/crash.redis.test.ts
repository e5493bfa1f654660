import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { FailureBatch } from '../../src/core/envelope.ts'
import { silent } from '../../src/core/log.ts'
import { createLedger } from '../../src/delivery/ledger.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { temporaryFolder, until } from '../support/cleanup.ts'
import { envelopeOf } from '../support/delivery.ts'
import { run } from '../support/process.ts'
import { startRedis } from '../support/redis.ts'

const program = join(import.meta.dirname, '../support/deadly-worker.ts')
const work = { owner: 'w', part: 'work' } as const
const failed = { owner: 'w', part: 'failures' } as const

describe('a worker process that is killed while it holds an envelope', () => {
  it('five times by the same message: that one is given up as "crashed", its neighbours are delivered once', async (t) => {
    const redis = await startRedis(t)
    const file = join(await temporaryFolder(t), 'delivered')
    await writeFile(file, '')
    const queues = await openRedisQueues({ url: redis.url, role: 'ingest', log: silent })
    t.after(() => queues.close())
    const ledger = createLedger({ queues, workers: () => ['w'], log: silent })
    await ledger.report()
    const entering = { tally: [['r', 'accepted', 4]] } as const
    await queues.add(work, [{ id: 'e1', data: envelopeOf(['a', 'b', 'killer', 'c']), entering }])

    for (let death = 1; death <= 5; death += 1) {
      const worker = run(t, process.execPath, [program, redis.url, file])
      assert.equal(await worker.ended(), null, `it was to be killed the ${death}th time: ${worker.output()}`)
      assert.equal(worker.child.signalCode, 'SIGKILL')
    }
    const last = run(t, process.execPath, [program, redis.url, file])
    await until('the envelope is finished', async () => {
      const { waiting, active, delayed } = await queues.counts(work)
      return waiting + active + delayed === 0
    })
    assert.equal(last.child.exitCode, null)
    const batches = await queues.peek<FailureBatch>(failed, 0, 10)
    const failures = batches.flatMap(({ data }) => data.failures)
    assert.deepEqual(
      failures.map(({ kind, reason, entry }) => [kind, reason, entry.id, entry.in]),
      [['crashed', 'crashed the worker', 'killer', 'payload of killer']],
    )
    assert.deepEqual((await readFile(file, 'utf8')).trim().split('\n'), ['a', 'b', 'c'])
    const { closed, rows } = await ledger.report()
    const [row] = rows
    assert.deepEqual([closed, row?.accepted, row?.delivered, row?.pending, row?.repeated], [true, 4, 3, 1, 0])
    await last.stop('SIGKILL')
  })
})
