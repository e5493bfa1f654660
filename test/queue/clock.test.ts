import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Clock } from '../../src/core/clock.ts'
import { silent } from '../../src/core/log.ts'
import type { Handled, Queues } from '../../src/core/queue.ts'
import { openEmbeddedQueues } from '../../src/queue/embedded.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { type Scope, temporaryFolder, until } from '../support/cleanup.ts'
import { movedClock } from '../support/clock.ts'
import { keepLines } from '../support/logs.ts'
import { startRedis } from '../support/redis.ts'

const hour = 3_600_000
const work = { owner: 'w', part: 'work' } as const
const done: Handled<unknown> = { kind: 'done' }
const short = { lockMs: 1_500, stalledCheckMs: 400 }

const backends = {
  // More than a page of them.
  redis: {
    many: 1_500,
    start: async (scope: Scope) => {
      const { url } = await startRedis(scope)
      return (clock: Clock) => openRedisQueues({ url, role: 'ingest', log: silent, clock, ...short })
    },
  },
  embedded: {
    many: 40,
    start: async (scope: Scope) => {
      const folder = await temporaryFolder(scope)
      return (clock: Clock) => openEmbeddedQueues({ folder, log: silent, clock, ...short })
    },
  },
}

for (const [name, { many, start }] of Object.entries(backends)) {
  describe(`queues on ${name} when the clock is moved`, () => {
    const ends: (() => unknown)[] = []
    let opening: (clock: Clock) => Promise<Queues>
    before(async () => {
      opening = await start({ after: (end) => void ends.push(end as () => unknown) })
    })
    after(async () => {
      for (const end of ends.reverse()) await end()
    })

    it('a job waits no longer than it was put off for when the clock goes back', async (t) => {
      const { clock, move } = movedClock(t)
      const queues = await open(t, await opening(clock))
      const seen: number[] = []
      const handler = async (): Promise<Handled<unknown>> =>
        seen.push(performance.now()) > 1 ? done : { kind: 'again', data: 2, afterMs: 1_500 }
      queues.consume(work, handler, { concurrency: 1 })
      await queues.add(work, [{ id: 'a1', data: 1 }])
      await until('it is put off', async () => (await queues.counts(work)).delayed === 1)
      move(-hour)
      await until('it comes up', () => seen.length === 2)
      await until('it is gone', async () => (await queues.counts(work)).delayed === 0)
    })

    it('nor when it went back while nobody was there to see', async (t) => {
      const { clock, moveUnseen } = movedClock(t)
      const first = await opening(clock)
      const consumer = first.consume(work, async () => ({ kind: 'again', data: 2, afterMs: 1_000 }), { concurrency: 1 })
      moveUnseen(hour)
      const ids = Array.from({ length: many }, (_, index) => `a${index}`)
      await first.add(
        work,
        ids.map((id) => ({ id, data: 1 })),
      )
      await until('some are put off', async () => (await first.counts(work)).delayed >= 20)
      await consumer.close(5_000)
      await first.close()
      moveUnseen(-hour)
      const queues = await open(t, await opening(clock))
      const seen = new Set<string>()
      queues.consume(work, async ({ id }) => (seen.add(id), done), { concurrency: 20 })
      await until('all came up', () => seen.size === ids.length, 20_000)
    })

    it('a job in hand is not taken for one that was left behind when the clock goes forward', async (t) => {
      const { clock, move } = movedClock(t)
      const queues = await open(t, await opening(clock))
      let taken = 0
      let deaths = 0
      const consumer = queues.consume(
        work,
        async (job) => {
          taken += 1
          deaths = Math.max(deaths, job.deaths)
          await sleep(2_500)
          return done
        },
        { concurrency: 2 },
      )
      await queues.add(work, [{ id: 'a1', data: 1 }])
      await until('it is in hand', () => taken === 1)
      await sleep(600)
      move(hour)
      await sleep(600)
      move(-hour)
      await until('it is done', async () => (await queues.counts(work)).active === 0)
      await sleep(200)
      assert.equal(taken, 1)
      assert.equal(deaths, 0)
      await consumer.close(5_000)
    })
  })
}

it("what a dead process held is free in time although Redis' own clock went back", async (t) => {
  const { url, port } = await startRedis(t)
  const redis = new Redis({ port })
  t.after(() => redis.disconnect())
  const { clock } = movedClock(t)
  const queues = await open(t, await openRedisQueues({ url, role: 'ingest', log: silent, clock, ...short }))
  const dead = await openRedisQueues({ url, role: 'ingest', log: silent, clock, ...short })
  await queues.add(work, [{ id: 'a1', data: 1 }])
  const hand = Promise.withResolvers<Handled<unknown>>()
  const consumer = dead.consume(work, () => hand.promise, { concurrency: 1 })
  await until('it is in hand', async () => (await queues.counts(work)).active === 1)
  await sleep(600)
  await consumer.close(0)
  await dead.close()
  // As it is when Redis' clock has gone back an hour: keys end at a time of day.
  assert.equal(await redis.pexpire('{sluice:w}:w:a1:lock', hour), 1)
  await redis.set('{sluice:w}:w:stalled-check', 1, 'PX', hour)
  const seen: string[] = []
  queues.consume(work, async ({ id }) => (seen.push(id), done), { concurrency: 1 })
  await until('it is taken up', () => seen.length === 1)
})

it('says that the clock was moved, how far, and not each time', (t) => {
  const log = keepLines()
  const { clock, move } = movedClock(t, log)
  const jumps: number[] = []
  clock.onJump(({ by }) => jumps.push(Math.round(by / 1_000)))
  const before = clock.passed()
  move(hour)
  move(-2 * hour)
  move(500)
  assert.deepEqual(jumps, [3_600, -7_200])
  assert.deepEqual(
    log.lines.map(({ facts, level }) => [level, facts]),
    [['warn', { seconds: 3_600, way: 'forward' }]],
  )
  assert.ok(clock.passed() - before < 1_000, 'what has passed is no hour')
})

async function open(t: TestContext, queues: Queues): Promise<Queues> {
  t.after(() => queues.close())
  return queues
}
