import assert from 'node:assert/strict'
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Redis } from 'ioredis'
import { silent } from '../../src/core/log.ts'
import type { Queues } from '../../src/core/queue.ts'
import { openStoreRecords } from '../../src/identity/store-records.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { until, type Scope } from '../support/cleanup.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'

/** A Redis of which an older state can be kept and put back, while those who use it go on. */
async function startRevertible(scope: Scope) {
  const parameters = ['--appendfsync', 'always', '--auto-aof-rewrite-percentage', '0']
  let server: RedisServer = await startRedis(scope, { parameters })
  const { port, folder, url } = server
  const files = join(folder, 'appendonlydir')
  const kept = join(folder, 'kept')
  return {
    url,
    port,
    keep: () => cpSync(files, kept, { recursive: true }),
    async putBack() {
      await server.stop('SIGKILL')
      rmSync(files, { recursive: true })
      cpSync(kept, files, { recursive: true })
      server = await startRedis(scope, { port, folder, parameters })
    },
  }
}

describe('Redis comes back with an older state', () => {
  const ends: (() => unknown)[] = []
  const scope: Scope = { after: (end) => void ends.push(end as () => unknown) }
  let revertible: Awaited<ReturnType<typeof startRevertible>>
  let admin: Redis

  before(async () => {
    revertible = await startRevertible(scope)
    admin = new Redis(revertible.port, { disableClientInfo: true, retryStrategy: () => 50 })
    admin.on('error', () => {})
  })
  after(async () => {
    admin.disconnect()
    for (const end of ends.reverse()) await end()
  })

  const open = async (t: Scope): Promise<Queues> => {
    const queues = await openRedisQueues({ url: revertible.url, role: 'ingest', log: silent })
    t.after(() => queues.close())
    return queues
  }
  const back = (queues: Queues) =>
    until('it is back', () =>
      queues.ping().then(
        () => true,
        () => false,
      ),
    )

  it('what is added after that is found again under its owner, and the queue is set up anew', async (t) => {
    const queues = await open(t)
    revertible.keep()
    const late = { owner: 'rule:late', part: 'dead' } as const
    await queues.add(late, [{ id: 'a1', data: 1 }])
    await revertible.putBack()
    await back(queues)
    assert.deepEqual(await queues.owners(), [])
    await queues.add(late, [{ id: 'b1', data: 2 }])
    assert.deepEqual(await queues.owners(), ['rule:late'])
    assert.equal(await admin.hget('{sluice:rule%3Alate}:rule%3Alate.dead:meta', 'opts.maxLenEvents'), '100')
  })

  it('owners are found from the queues that are there, where the register does not name them', async (t) => {
    const queues = await open(t)
    for (const [owner, part] of [
      ['one', 'work'],
      ['two', 'failures'],
      ['rule:three.a:b', 'dead'],
    ] as const)
      await queues.add({ owner, part }, [{ id: 'a1', data: 1 }])
    const expected = ['one', 'rule:late', 'rule:three.a:b', 'two']
    // Under the process that wrote them down, and under one that never did.
    await admin.del('{sluice}:owners')
    assert.deepEqual(await queues.owners(), expected)
    await admin.del('{sluice}:owners')
    assert.deepEqual(await (await open(t)).owners(), expected)
    // Keys of others, and jobs named like a part of a queue, make no owner.
    await admin.lpush('{sluice:x}:y:wait', 'z')
    await admin.set('{sluice:w}:w:active-1', 'z')
    await admin.lpush('{sluice:%2}:%2:wait', 'z')
    await admin.del('{sluice}:owners')
    assert.deepEqual(await (await open(t)).owners(), expected)
  })

  it('records of identities that were written meanwhile under the same versions are seen', async (t) => {
    const records = await openStoreRecords({ store: (await open(t)).store, log: silent, pollMs: 20 })
    t.after(() => records.close())
    const thing = (name: string) => ({ name, attributes: {}, groups: [], policies: [] })
    await records.putThing(thing('first'), undefined)
    revertible.keep()
    await records.putThing(thing('second'), undefined)
    await records.putThing(thing('third'), undefined)
    const told: string[] = []
    records.onChange(({ things }) => told.push(...things))
    await revertible.putBack()
    // Another ingest is faster, and what it writes has versions that were seen already.
    const other = (await open(t)).store.table('identity')
    await other.put('thing/third', thing('third'))
    await other.put('thing/fourth', thing('fourth'))
    await until('it is seen', () => records.thing('fourth') !== undefined && records.thing('second') === undefined)
    assert.deepEqual([...records.things()].map(({ name }) => name).sort(), ['first', 'fourth', 'third'])
    assert.deepEqual(told.sort(), ['fourth', 'second'])
    assert.equal(await records.putThing(thing('second'), undefined), true)
  })
})
