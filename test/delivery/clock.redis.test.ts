import assert from 'node:assert/strict'
import { it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Envelope } from '../../src/core/envelope.ts'
import { silent } from '../../src/core/log.ts'
import { delivered } from '../../src/core/outcome.ts'
import { Redactor } from '../../src/core/redactor.ts'
import { createWorkerRunner } from '../../src/delivery/worker-runner.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { until } from '../support/cleanup.ts'
import { movedClock } from '../support/clock.ts'
import { countingMetrics, entryOf, quick, scripted, workerOf } from '../support/delivery.ts'
import { startRedis } from '../support/redis.ts'

const day = 86_400_000

it('a clock that is two days ahead for a while makes nothing too old, over a restart too, and holds nothing back', async (t) => {
  const { url } = await startRedis(t)
  const { clock, move, moveUnseen } = movedClock(t)
  const queues = await openRedisQueues({ url, role: 'ingest', log: silent, clock, lockMs: 1_500, stalledCheckMs: 400 })
  t.after(() => queues.close())
  let isDown = true
  const arrived = new Set<string>()
  const forwarder = scripted(({ id }) => {
    if (isDown) return { kind: 'retry', reason: 'connection refused', answered: false }
    arrived.add(id)
    return delivered
  })
  const delivery = { ...quick, age: day, backoff: { first: 50, max: 200 } }
  const start = () => {
    const runner = createWorkerRunner({
      worker: workerOf({ delivery }),
      forwarder,
      queues,
      openCredential: async () => undefined,
      redactor: new Redactor(),
      log: silent,
      metrics: countingMetrics(),
      clock,
    })
    runner.start()
    t.after(() => runner.close(1_000))
    return runner
  }
  let count = 0
  const publish = async (name: string) => {
    const jobs = Array.from({ length: 8 }, () => {
      const data: Envelope = { v: 1, set: 's', entries: [entryOf({ id: `${name}${(count += 1)}` })] }
      return { id: `j${count}`, data }
    })
    await queues.add({ owner: 'w', part: 'work' }, jobs)
  }

  const first = start()
  await publish('before')
  await until('it is away', () => first.state().state === 'away')
  move(2 * day)
  await publish('ahead')
  await sleep(500)
  await first.close(1_000)
  // Back by half while nobody is there, and by the rest when somebody is.
  moveUnseen(-day)
  start()
  await publish('between')
  await sleep(500)
  move(-day)
  await publish('after')
  isDown = false
  await until('all arrive', () => arrived.size === 32)
  const failures = await queues.counts({ owner: 'w', part: 'failures' })
  assert.deepEqual(failures, { waiting: 0, active: 0, delayed: 0 })
})
