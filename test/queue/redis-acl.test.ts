import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Redis } from 'ioredis'
import { SluiceError } from '../../src/core/errors.ts'
import { silent } from '../../src/core/log.ts'
import type { Handled, Queues } from '../../src/core/queue.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { temporaryFolder, until } from '../support/cleanup.ts'
import { startRedis } from '../support/redis.ts'

const work = { owner: 'alerts', part: 'work' } as const
const failures = { owner: 'alerts', part: 'failures' } as const
const dead = { owner: 'alerts', part: 'dead' } as const
const hash = (password: string) => `#${createHash('sha256').update(password).digest('hex')}`

/** A Redis with the users of deploy/redis/users.acl: ingest, two workers, and an admin to look on. */
async function startGuarded(t: TestContext) {
  const folder = await temporaryFolder(t)
  const template = readFileSync(new URL('../../deploy/redis/users.acl', import.meta.url), 'utf8')
  const lines = template.split('\n').filter((line) => line.startsWith('user '))
  const lineOf = (role: string, name: string) => {
    const line = lines.find((each) => each.startsWith(`user ${role} `)) ?? assert.fail(role)
    return line
      .replace(`user ${role}`, `user ${name}`)
      .replaceAll('WORKER', name)
      .replace('PASSWORD', hash(`of ${name}`))
  }
  const users = [lineOf('ingest', 'ingest'), lineOf('worker', 'alerts'), lineOf('worker', 'archive')]
  writeFileSync(
    join(folder, 'users.acl'),
    ['user default off ~* &* +@all', 'user admin on nopass ~* &* +@all', ...users, ''].join('\n'),
  )
  const server = await startRedis(t, { parameters: ['--aclfile', join(folder, 'users.acl')] })
  const urlOf = (name: string) => `redis://${name}:${encodeURIComponent(`of ${name}`)}@127.0.0.1:${server.port}`
  const admin = new Redis({ port: server.port, username: 'admin', password: 'x' })
  t.after(() => admin.disconnect())
  const as = async (name: string): Promise<Queues> => {
    const role = name === 'ingest' ? 'ingest' : 'worker'
    const queues = await openRedisQueues({ url: urlOf(name), role, log: silent, lockMs: 600, stalledCheckMs: 200 })
    t.after(() => queues.close())
    return queues
  }
  const raw = (name: string) => {
    const client = new Redis(urlOf(name), { disableClientInfo: true })
    client.on('error', () => {})
    t.after(() => client.disconnect())
    return client
  }
  return { admin, as, raw }
}

test('ingest and a worker do all they must do under the ACL of deploy/, and Redis refuses none of it', async (t) => {
  const { admin, as } = await startGuarded(t)
  const ingest = await as('ingest')
  const worker = await as('alerts')
  await ingest.add(work, [{ id: 'a1', data: 1 }])
  await ingest.add(work, [
    { id: 'a1', data: 1 },
    { id: 'b1', data: 2 },
    { id: 'c1', data: 3 },
  ])
  assert.deepEqual(await ingest.counts(work), { waiting: 3, active: 0, delayed: 0 })

  // The worker: put off, update, give up, throw, complete, lose a lock.
  const seen: string[] = []
  let release = () => {}
  const consumer = worker.consume<unknown>(
    work,
    async (job): Promise<Handled<unknown>> => {
      seen.push(job.id)
      await job.update({ seen: true })
      if (seen.length === 1) return { kind: 'again', data: 'later', afterMs: 10 }
      if (seen.length === 2) throw new Error('a defect')
      if (seen.length === 3) {
        await admin.del(`{sluice:alerts}:alerts:${job.id}:lock`)
        await new Promise<void>((resolve) => (release = resolve))
      }
      await worker.add(failures, [{ id: `${job.id}-failed`, data: 'why' }])
      return { kind: 'done' }
    },
    { concurrency: 2 },
  )
  await until('the one whose lock was lost is taken again', () => new Set(seen.slice(3)).has(seen[2] ?? ''))
  release()
  await until('all gave up', async () => (await worker.counts(failures)).waiting === 3)
  consumer.pause()
  consumer.resume()
  await until('nothing is left', async () => Object.values(await worker.counts(work)).every((count) => count === 0))
  await consumer.close(2_000)

  // Ingest: takes the failures, keeps dead letters, lists and removes them, has a store and leases.
  const taken: string[] = []
  const taker = ingest.consume(failures, async (job) => (taken.push(job.id), { kind: 'done' }), { concurrency: 1 })
  await until('they are taken', () => taken.length === 3)
  await taker.close(2_000)
  await ingest.add(dead, [{ id: 'd1', data: 'x' }])
  await ingest.add({ owner: 'rule:hot.rooms', part: 'dead' }, [{ id: 'd2', data: 'y' }])
  assert.deepEqual(
    (await ingest.peek(dead, 0, 10)).map(({ id }) => id),
    ['d1'],
  )
  assert.equal((await ingest.get(dead, 'd1'))?.data, 'x')
  assert.equal(await ingest.remove(dead, ['d1']), 1)
  assert.deepEqual(await ingest.owners(), ['alerts', 'rule:hot.rooms'])
  await ingest.store.set('key', 1)
  assert.equal(await ingest.store.get('key'), 1)
  await ingest.store.delete('key')
  assert.equal(await ingest.store.lease('key', 'me', 1_000), true)
  await ingest.store.release('key', 'me')
  const table = ingest.store.table('identity')
  assert.equal(await table.put('a', 1, 0), 1)
  assert.equal(await table.put('a', undefined), 2)
  assert.deepEqual(await table.since(0), [{ key: 'a', version: 2, value: undefined }])
  await Promise.all([ingest.ping(), worker.ping()])

  const denials = (await admin.call('ACL', 'LOG', '20')) as unknown[]
  assert.deepEqual(denials, [])
})

test('a worker reaches nothing but its own work and failures', async (t) => {
  const { admin, as, raw } = await startGuarded(t)
  const ingest = await as('ingest')
  const worker = await as('archive')
  for (const queue of [work, failures, dead]) await ingest.add(queue, [{ id: 'a1', data: 'secret' }])
  await ingest.store.set('key', 'state')
  const refused = (error: unknown) =>
    error instanceof SluiceError && error.code === 'QUEUE_AWAY' && /NOPERM|permission|can't access/i.test(error.message)
  for (const queue of [work, failures, dead]) {
    await assert.rejects(worker.add(queue, [{ id: 'b1', data: 'forged' }]), refused)
    await assert.rejects(worker.counts(queue), refused)
    await assert.rejects(worker.get(queue, 'a1'), refused)
    await assert.rejects(worker.remove(queue, ['a1']), refused)
  }
  await assert.rejects(worker.get({ owner: 'archive', part: 'dead' }, 'a1'), refused)
  await assert.rejects(worker.store.get('key'), refused)
  await assert.rejects(worker.store.lease('key', 'archive', 1_000), refused)
  await assert.rejects(worker.store.table('identity').put('a', 1), refused)
  await assert.rejects(worker.store.table('identity').since(0), refused)
  await assert.rejects(worker.owners(), refused)

  const client = raw('archive')
  const key = '{sluice:alerts}:alerts:a1'
  for (const [command, ...parameters] of [
    ['HGETALL', key],
    ['EVAL', `return redis.call('HGETALL', KEYS[1])`, '1', key],
    ['EVAL', `return redis.call('HGETALL', '${key}')`, '0'],
    ['KEYS', '*'],
    ['SCAN', '0'],
    ['CONFIG', 'GET', '*'],
    ['CLIENT', 'LIST'],
    ['ACL', 'LIST'],
    ['SCRIPT', 'FLUSH'],
    ['PUBLISH', 'x', 'y'],
    ['FLUSHALL'],
    ['MONITOR'],
  ] as const) {
    await assert.rejects(client.call(command, ...parameters), /NOPERM|permission|can't access/i, command)
  }
  assert.equal(await admin.hget(key, 'data'), '"secret"')
})

test('ingest may not take, list or delete the work of a worker', async (t) => {
  const { as, raw } = await startGuarded(t)
  const ingest = await as('ingest')
  await ingest.add(work, [{ id: 'a1', data: 'x' }])
  const client = raw('ingest')
  const key = '{sluice:alerts}:alerts:a1'
  for (const [command, ...parameters] of [
    ['DEL', key],
    ['HGETALL', key],
    ['LRANGE', '{sluice:alerts}:alerts:wait', '0', '-1'],
    ['RPOPLPUSH', '{sluice:alerts}:alerts:wait', '{sluice:alerts}:alerts:active'],
    ['EVAL', `return redis.call('DEL', KEYS[1])`, '1', key],
    ['CONFIG', 'GET', '*'],
    ['FLUSHALL'],
  ] as const) {
    await assert.rejects(client.call(command, ...parameters), /NOPERM|permission|can't access/i, command)
  }
})

test('fsync needs a user that may read the configuration, and says so', async (t) => {
  const { raw } = await startGuarded(t)
  const { port } = raw('ingest').options
  const url = `redis://ingest:of%20ingest@127.0.0.1:${port}`
  await assert.rejects(openRedisQueues({ url, role: 'ingest', durability: 'fsync', log: silent }), {
    code: 'QUEUE_UNSAFE',
    message: /\+config\|get/,
  })
})
