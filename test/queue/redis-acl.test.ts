import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Redis } from 'ioredis'
import { SluiceError } from '../../src/core/errors.ts'
import { envelopeVersion, type Envelope, type FailureBatch } from '../../src/core/envelope.ts'
import { silent } from '../../src/core/log.ts'
import type { Handled, Queues } from '../../src/core/queue.ts'
import { tallyOf } from '../../src/core/tally.ts'
import { createLedger } from '../../src/delivery/ledger.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { temporaryFolder, until } from '../support/cleanup.ts'
import { envelopeOf, recordingLog } from '../support/delivery.ts'
import { startRedis } from '../support/redis.ts'

const work = { owner: 'alerts', part: 'work' } as const
const failures = { owner: 'alerts', part: 'failures' } as const
const dead = { owner: 'alerts', part: 'dead' } as const
const hash = (password: string) => `#${createHash('sha256').update(password).digest('hex')}`

/** A Redis with the users of deploy/redis/users.acl: ingest, two workers, nobody else; and an admin to look on. */
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
  const write = (ofDefault: string) =>
    writeFileSync(join(folder, 'users.acl'), [ofDefault, 'user admin on nopass ~* &* +@all', ...users, ''].join('\n'))
  write(lineOf('default', 'default'))
  const parameters = ['--aclfile', join(folder, 'users.acl')]
  let server = await startRedis(t, { folder, parameters })
  /** Stops it and starts it again on its append-only file. */
  const restart = async () => {
    await server.stop()
    server = await startRedis(t, { folder, port: server.port, parameters })
  }
  const urlOf = (name: string) => `redis://${name}:${encodeURIComponent(`of ${name}`)}@127.0.0.1:${server.port}`
  const admin = new Redis({ port: server.port, username: 'admin', password: 'x' })
  // A restart is no news to it.
  admin.on('error', () => {})
  t.after(() => admin.disconnect())
  const as = async (name: string, acceptLoss = false): Promise<Queues> => {
    const role = name === 'ingest' ? 'ingest' : 'worker'
    const fixed = { log: silent, lockMs: 600, stalledCheckMs: 200 }
    const queues = await openRedisQueues({ url: urlOf(name), role, acceptLoss, ...fixed })
    t.after(() => queues.close())
    return queues
  }
  const raw = (name: string) => {
    const client = new Redis(urlOf(name), { disableClientInfo: true })
    client.on('error', () => {})
    t.after(() => client.disconnect())
    return client
  }
  /** Ingest adds these numbers to the work of alerts. */
  const add = async (from: number, to: number, acceptLoss = false) => {
    const ingest = await as('ingest', acceptLoss)
    const numbers = Array.from({ length: to - from }, (_, index) => from + index)
    await ingest.add(
      work,
      numbers.map((number) => ({ id: `a${number}`, data: number })),
    )
    await ingest.close()
  }
  /** Alerts works until it has had so many different numbers and there is no more. */
  const take = async (count: number, into: Set<number>) => {
    const worker = await as('alerts')
    const consumer = worker.consume<number>(work, async (job) => (into.add(job.data), { kind: 'done' }), {
      concurrency: 4,
    })
    await until(`${count} of them, and nothing left`, async () => {
      const left = Object.values(await worker.counts(work))
      return into.size >= count && left.every((number) => number === 0)
    })
    await consumer.close(2_000)
    await worker.close()
  }
  return { admin, as, raw, urlOf, write, restart, add, take, port: server.port }
}

/** What a server says to each of these lines, of whoever connects. */
async function answersTo(port: number, lines: readonly string[]): Promise<readonly string[]> {
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.setEncoding('utf8').on('data', (part: string) => (text += part))
  socket.write(lines.map((line) => `${line}\r\n`).join(''))
  const answers = await until('an answer to each', () => {
    const complete = text.split('\r\n').slice(0, -1)
    return complete.length >= lines.length && complete
  })
  socket.destroy()
  return answers
}

test('what was added is there after a restart of Redis, and who shows no password still gets NOAUTH', async (t) => {
  const { add, take, restart, port } = await startGuarded(t)
  await add(0, 60)
  await restart()
  const taken = new Set<number>()
  await take(60, taken)
  assert.equal(taken.size, 60)
  await restart()
  const said = await answersTo(port, [
    'PING',
    'GET {sluice}:owners',
    'ACL WHOAMI',
    'CONFIG GET *',
    'SAVE',
    'AUTH x',
    'AUTH default x',
    'HELLO 3 AUTH default x',
  ])
  assert.deepEqual(
    said.map((line) => line.split(' ', 1)[0]),
    [...Array.from({ length: 5 }, () => '-NOAUTH'), ...Array.from({ length: 3 }, () => '-WRONGPASS')],
  )
})

test('an append-only file that was written while the user default might nothing is loaded whole when it may', async (t) => {
  const { add, take, restart, write, admin } = await startGuarded(t)
  write('user default off')
  await restart()
  await add(0, 20, true)
  await restart()
  // Redis has dropped them, and goes on behind them in the same file.
  assert.equal(await admin.llen('{sluice:alerts}:alerts:wait'), 0)
  await add(20, 40, true)
  const taken = new Set<number>()
  await take(20, taken)
  await add(40, 60, true)
  write('user default off ~* &* +@all')
  await restart()
  await take(60, taken)
})

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

  // Both measure what is theirs; the worker takes out of its own work what it lets fall.
  const jobs = ['e1', 'f1', 'g1'].map((id) => ({ id, data: 'x'.repeat(1_000) }))
  await ingest.add(work, jobs)
  await ingest.add(dead, jobs)
  const measured = (await ingest.sizes(['alerts'])).get('alerts')
  assert.equal(measured?.jobs, 6)
  assert.ok(measured.bytes > 6_000 && measured.bytes < 15_000, `${measured.bytes}`)
  assert.equal((await worker.sizes(['alerts'], ['work', 'failures'])).get('alerts')?.jobs, 3)
  assert.ok((await worker.room()).bytes > 0 && (await ingest.room()).bytes > 0)
  const oldest = await worker.page(work, undefined, 2)
  assert.deepEqual(
    oldest.map(({ id }) => id),
    ['e1', 'f1'],
  )
  assert.equal(await worker.remove(work, ['e1'], 'dropped:full'), 1)
  const letters = await ingest.page(dead, oldest[0]?.cursor, 5)
  assert.equal(await ingest.remove(dead, ['f1', 'g1'], 'dropped:kept-messages'), 2)
  assert.ok(letters.length > 0)

  const denials = (await admin.call('ACL', 'LOG', '20')) as unknown[]
  assert.deepEqual(denials, [])
})

test('the ledger is kept and closes under the ACL of deploy/, and a worker writes in no ledger but its own', async (t) => {
  const { admin, as } = await startGuarded(t)
  const ingest = await as('ingest')
  const worker = await as('alerts')
  const ledger = createLedger({ queues: ingest, workers: () => ['alerts'], log: silent })
  await ledger.report()
  const entering = { tally: [['r', 'accepted', 1]] } as const
  await ingest.add(
    work,
    ['a1', 'b1', 'c1'].map((id) => ({ id, data: envelopeOf([id]), entering })),
  )
  const consumer = worker.consume<Envelope>(
    work,
    async ({ id, data }): Promise<Handled<Envelope>> => {
      if (id === 'c1') return { kind: 'again', data, afterMs: 60_000 }
      const what = id === 'a1' ? 'delivered' : 'given-up'
      if (what === 'given-up')
        await worker.add(failures, [
          { id: 'f1', data: failureBatchOf(data), entering: { tally: tallyOf(data.entries, what) } },
        ])
      return { kind: 'done', tally: tallyOf(data.entries, what) }
    },
    { concurrency: 1 },
  )
  await until('two are finished', async () => (await ingest.counts(work)).delayed === 1)
  await consumer.close(2_000)
  const { closed, rows, problems } = await ledger.report()
  assert.deepEqual(problems, [])
  assert.equal(closed, true)
  assert.deepEqual([rows[0]?.accepted, rows[0]?.delivered, rows[0]?.pending], [3, 1, 2])
  assert.deepEqual(await admin.call('ACL', 'LOG', '20'), [])
  const archive = await as('archive')
  await assert.rejects(archive.ledger.leave(work, [{ id: 'c1', leaving: { all: 'purged' } }]), /NOPERM|permission/i)
})

test('a user without rights on the ledger adds uncounted and says so: messages matter more than the books', async (t) => {
  const { admin, as, urlOf } = await startGuarded(t)
  await admin.call(
    'ACL',
    'SETUSER',
    'ingest',
    'resetkeys',
    '~{sluice}:*',
    '~{sluice:*}:*.failures:*',
    '~{sluice:*}:*.dead:*',
  )
  const log = recordingLog()
  const queues = await openRedisQueues({ url: urlOf('ingest'), role: 'ingest', log })
  t.after(() => queues.close())
  const entering = { tally: [['r', 'accepted', 1]] } as const
  await queues.add(work, [{ id: 'a1', data: envelopeOf(['m']), entering }])
  assert.equal((await (await as('alerts')).counts(work)).waiting, 1)
  assert.ok(log.lines.some(({ message }) => message.includes('may not write the ledger')))
})

test('a user whose line is of an earlier version is told so', async (t) => {
  const { admin, urlOf } = await startGuarded(t)
  await admin.call('ACL', 'SETUSER', 'ingest', '-hscan', '-lset')
  for (const ask of [
    (queues: Queues): Promise<unknown> => createLedger({ queues, workers: () => ['alerts'], log: silent }).settle(),
    (queues: Queues): Promise<unknown> => queues.remove(dead, ['d1'], 'purged'),
  ]) {
    const log = recordingLog()
    const queues = await openRedisQueues({ url: urlOf('ingest'), role: 'ingest', log })
    t.after(() => queues.close())
    await queues.add(dead, [{ id: 'd1', data: 'x' }])
    // Nobody waits for what goes on in the background.
    await ask(queues).catch(() => {})
    assert.ok(log.lines.some(({ message }) => message.includes('its line of deploy/redis/users.acl')))
  }
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

function failureBatchOf({ entries }: Envelope): FailureBatch {
  const v = envelopeVersion
  return {
    v,
    failures: entries.map((entry) => ({ v, worker: 'alerts', kind: 'rejected', reason: 'no', at: 1, entry })),
  }
}
