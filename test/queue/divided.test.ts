import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { backlogPolicy } from '../../src/config/backlog-schema.ts'
import { silent } from '../../src/core/log.ts'
import { uncounted } from '../../src/core/metrics.ts'
import type { Queues } from '../../src/core/queue.ts'
import type { BacklogPolicy } from '../../src/core/room.ts'
import { Capacity } from '../../src/queue/capacity.ts'
import { createDividedQueues } from '../../src/queue/divided.ts'
import { DividedRoom } from '../../src/queue/divided-room.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { WatchedAdds } from '../../src/queue/watched-adds.ts'
import { testQueues } from '../conformance/queue.ts'
import { until } from '../support/cleanup.ts'
import { createMemoryQueues } from '../support/memory-queues.ts'
import { startRedis } from '../support/redis.ts'

/** More than the suite takes, each with the same store: every worker's queues are there, and all else is in the other. */
const names = Array.from({ length: 200 }, (_, number) => `w${number}`)

testQueues({
  name: 'a Redis that all share and one for the workers',
  exclusive: false,
  async prepare(scope) {
    const [shared, own] = [await startRedis(scope), await startRedis(scope)]
    const quick = { lockMs: 600, stalledCheckMs: 250, role: 'ingest', log: silent } as const
    return {
      async open() {
        const store = await openRedisQueues({ ...quick, url: own.url })
        const workers = new Map(names.map((name) => [name, store]))
        return createDividedQueues(await openRedisQueues({ ...quick, url: shared.url }), workers)
      },
      opening: { kind: 'redis', url: own.url, lockMs: 600, stalledCheckMs: 250 },
    }
  },
})

const job = { id: 'a', data: {} }
const policy: BacklogPolicy = { max: { share: 1 }, whenFull: 'refuse' }

async function roomOf(t: TestContext, owner: string, queues: Queues, name?: string): Promise<Capacity> {
  const capacity = new Capacity({
    queues,
    owners: () => [owner],
    policyOf: () => policy,
    ...(name !== undefined && { name }),
    log: silent,
    metrics: uncounted,
  })
  t.after(() => capacity.close())
  await capacity.measure()
  return capacity
}

test('what fails in a store of its own says whose it is, and the whole is there while the shared one is', async () => {
  const [shared, own] = [createMemoryQueues(), createMemoryQueues()]
  const queues = createDividedQueues(shared, new Map([['lake', own]]))
  own.away = true
  await rejects(queues.add({ owner: 'lake', part: 'work' }, [job]), { code: 'QUEUE_AWAY', message: /worker lake/ })
  await rejects(queues.ledger.totals({ owner: 'lake', part: 'work' }), /the queue of worker lake/)
  match(queues.troubleOf('lake') ?? '', /the queue of worker lake is away/)
  equal(queues.troubleOf('hook'), undefined)
  await queues.ping()
  await queues.add({ owner: 'hook', part: 'work' }, [job])
  ok((await queues.owners()).includes('lake'))
  shared.away = true
  await rejects(queues.ping(), { code: 'QUEUE_AWAY' })
  await queues.close()
})

test('a store that hangs is known by an add that takes too long, until it takes one', async () => {
  const answer = Promise.withResolvers<void>()
  const adds = new WatchedAdds({ add: () => answer.promise, ping: () => answer.promise, trouble: undefined })
  const added = adds.add({ owner: 'lake', part: 'work' }, [job])
  equal(adds.trouble, undefined)
  await until('it is known', () => adds.trouble === 'it does not answer')
  answer.resolve()
  await added
  equal(adds.trouble, undefined)
  adds.close()
})

test('a store that refused an add is used again when it takes a write', async () => {
  let full = true
  const take = () => (full ? Promise.reject(new Error('OOM')) : Promise.resolve())
  const adds = new WatchedAdds({ add: take, ping: take, trouble: undefined })
  await rejects(adds.add({ owner: 'lake', part: 'work' }, [job]))
  equal(adds.trouble, 'OOM')
  full = false
  await until('it is used again', () => adds.trouble === undefined)
  adds.close()
})

test('a store without room stops only those whose queue is in it', async (t) => {
  const [shared, own] = [createMemoryQueues(), createMemoryQueues()]
  own.hold(1_000, 0)
  const full = await roomOf(t, 'lake', own, 'the queue of worker lake')
  const free = await roomOf(t, 'hook', shared)
  const room = new DividedRoom(free, new Map([['lake', full]]), () => undefined)
  equal(room.complain(['hook']), undefined)
  equal(room.complain([]), undefined)
  equal(room.complain(new Set(['hook', 'lake']).values()), 'the queue of worker lake has no room left')

  shared.hold(1_000, 0)
  own.hold(1_000, 1_000)
  await Promise.all([full.measure(), free.measure()])
  equal(room.complain(['lake']), undefined)
  equal(room.complain([]), 'the queue has no room left')
  equal(room.complain(['lake', 'hook']), 'the queue has no room left')
})

test('the share of sluice.yaml is one of the shared store; in a store of its own a worker has most of it, or what its file says', () => {
  const common: BacklogPolicy = { max: { share: 0.1 }, whenFull: 'drop-newest' }
  const queue = { url: 'redis://own', acceptLoss: false }
  deepEqual(backlogPolicy(common, {}).max, { share: 0.1 })
  deepEqual(backlogPolicy(common, { queue }), { max: { share: 0.8 }, whenFull: 'drop-newest' })
  deepEqual(backlogPolicy(common, { queue, backlog: { max: { bytes: 7 } } }).max, { bytes: 7 })
})
