import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Redis } from 'ioredis'
import { QueueAwayError } from '../../src/core/errors.ts'
import { silent } from '../../src/core/log.ts'
import type { Handled, Queues } from '../../src/core/queue.ts'
import { openRedisQueues, type RedisQueuesOptions } from '../../src/queue/redis.ts'
import { startHolder } from '../conformance/queue.ts'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { keepLines } from '../support/logs.ts'
import { startRedis } from '../support/redis.ts'

const work = { owner: 'w', part: 'work' } as const
const done: Handled<never> = { kind: 'done' }

async function open(t: TestContext, options: Partial<RedisQueuesOptions> & { readonly url: string }): Promise<Queues> {
  const queues = await openRedisQueues({ role: 'ingest', log: silent, ...options })
  t.after(() => queues.close())
  return queues
}

const sure = (error: unknown) => error instanceof QueueAwayError && !error.inDoubt
const doubtful = (error: unknown) => error instanceof QueueAwayError && error.inDoubt

test('Redis away at start: everything says so at once, in few lines of log, and works when Redis is there', async (t) => {
  const port = await freePort()
  const log = keepLines()
  const queues = await open(t, { url: `redis://127.0.0.1:${port}`, log })
  const seen: string[] = []
  const consumer = queues.consume(work, async (job) => (seen.push(job.id), done), { concurrency: 1 })
  await assert.rejects(queues.ping(), sure)
  await assert.rejects(queues.add(work, [{ id: 'lost1', data: 1 }]), sure)
  await assert.rejects(queues.counts(work), sure)
  await assert.rejects(queues.store.get('x'), sure)
  assert.equal(log.lines.length, 1, JSON.stringify(log.lines))
  assert.match(log.lines[0]?.message ?? '', /Redis \(redis:\/\/127\.0\.0\.1:\d+\) is away/)

  await startRedis(t, { port })
  await until('it is there', () =>
    queues.ping().then(
      () => true,
      () => false,
    ),
  )
  await queues.add(work, [{ id: 'found1', data: 1 }])
  await until('the consumer found it too', () => seen.length === 1)
  assert.deepEqual(seen, ['found1'])
  assert.ok(log.lines.some(({ message }) => /is back/.test(message)))
  await consumer.close(5_000)
})

test('a consumer that never reached Redis closes', async (t) => {
  const queues = await open(t, { url: `redis://127.0.0.1:${await freePort()}` })
  const consumer = queues.consume(work, async () => done, { concurrency: 1 })
  await consumer.close(100)
})

test('Redis killed and restarted under load: nothing acknowledged is missing', async (t) => {
  const server = await startRedis(t)
  const queues = await open(t, { url: server.url, lockMs: 600, stalledCheckMs: 200 })
  const acknowledged = new Set<string>()
  const arrived = new Set<string>()
  const stop = new AbortController()
  const consumer = queues.consume(
    work,
    async (job) => {
      await new Promise((resolve) => setTimeout(resolve, 2))
      arrived.add(job.id)
      return done
    },
    { concurrency: 4 },
  )
  const load = (async () => {
    for (let count = 0; !stop.signal.aborted; count += 1) {
      const ids = [`a-${count}`, `b-${count}`]
      await queues
        .add(
          work,
          ids.map((id) => ({ id, data: 'x'.repeat(1000) })),
        )
        .then(
          () => ids.forEach((id) => acknowledged.add(id)),
          () => new Promise((resolve) => setTimeout(resolve, 5)),
        )
    }
  })()
  await until('it runs', () => acknowledged.size > 200)
  await server.stop('SIGKILL')
  await new Promise((resolve) => setTimeout(resolve, 300))
  await startRedis(t, { port: server.port, folder: server.folder })
  const before = acknowledged.size
  await until('it runs again', () => acknowledged.size > before + 200)
  stop.abort()
  await load
  await until('every acknowledged one arrived', () => [...acknowledged].every((id) => arrived.has(id)), 20_000)
  await consumer.close(5_000)
})

test('Redis that hangs: an add fails in time and in doubt, the next ones at once and for sure', async (t) => {
  const server = await startRedis(t)
  const queues = await open(t, { url: server.url, timeoutMs: 300 })
  await queues.add(work, [{ id: 'a1', data: 1 }])
  server.child.kill('SIGSTOP')
  const refused: string[] = []
  try {
    await assert.rejects(queues.add(work, [{ id: 'b1', data: 1 }]), doubtful)
    let tries = 0
    await until('nothing more is sent', async () => {
      const id = `c-${(tries += 1)}`
      const isSure = await queues.add(work, [{ id, data: 1 }]).then(() => assert.fail('it hangs'), sure)
      if (isSure) refused.push(id)
      return refused.length === 5
    })
    await assert.rejects(queues.ping(), sure)
  } finally {
    server.child.kill('SIGCONT')
  }
  await until('it goes on', () =>
    queues.ping().then(
      () => true,
      () => false,
    ),
  )
  const ids = (await queues.peek(work, 0, 100)).map(({ id }) => id)
  assert.ok(ids.includes('a1'))
  for (const id of refused) assert.ok(!ids.includes(id), `${id} was refused for sure`)
})

test('with the settings as they are, work of a killed process is taken up within 10 s, while other work goes on', async (t) => {
  const { url } = await startRedis(t)
  const queues = await open(t, { url })
  const seen: string[] = []
  // Its handler doesn't return, and it is not taken from it: its lock is renewed all the while.
  const hand = Promise.withResolvers<Handled<unknown>>()
  const slow = queues.consume(work, (job) => (seen.push(job.id), hand.promise), { concurrency: 1 })
  await queues.add(work, [{ id: 'slow1', data: 1 }])
  await until('the slow one is in hand', () => seen.length === 1)
  const holder = startHolder(t, { kind: 'redis', url }, work.owner)
  await queues.add(work, [{ id: 'held1', data: 1 }])
  await until('the other one is in hand', () => holder.output().includes('holding held1'))
  await holder.stop('SIGKILL')
  const killedAt = performance.now()
  const consumer = queues.consume(work, async (job) => (seen.push(job.id), done), { concurrency: 1 })
  await until('it was taken up', () => seen.length === 2, 10_000)
  t.diagnostic(`taken up ${Math.round(performance.now() - killedAt)} ms after the kill`)
  hand.resolve(done)
  await Promise.all([slow.close(5_000), consumer.close(5_000)])
  assert.deepEqual(seen, ['slow1', 'held1'])
  assert.deepEqual(await queues.counts(work), { waiting: 0, active: 0, delayed: 0 })
})

test('a lock that was lost is no death: whoever lost it lives', async (t) => {
  const { url } = await startRedis(t)
  const queues = await open(t, { url, lockMs: 600, stalledCheckMs: 200 })
  const admin = new Redis(url)
  t.after(() => admin.disconnect())
  const hand = Promise.withResolvers<Handled<unknown>>()
  const deaths: number[] = []
  const consumer = queues.consume<unknown>(
    work,
    async (job) => {
      deaths.push(job.deaths)
      if (deaths.length === 1) return hand.promise
      return deaths.length === 2 ? { kind: 'again', data: 1, afterMs: 500 } : done
    },
    { concurrency: 2 },
  )
  await queues.add(work, [{ id: 'a1', data: 1 }])
  await until('it is in hand', () => deaths.length === 1)
  await admin.del('{sluice:w}:w:a1:lock')
  await until('it was taken for stalled', () => deaths.length === 2)
  hand.resolve({ kind: 'again', data: 'of one who lost it', afterMs: 0 })
  await until('it came again', () => deaths.length === 3)
  await consumer.close(5_000)
  assert.equal(deaths[2], 0)
  assert.deepEqual(await queues.counts(work), { waiting: 0, active: 0, delayed: 0 })
})

test('what Redis refuses is said in its words, and a consumer waits instead of asking on and on', async (t) => {
  const { url } = await startRedis(t)
  const admin = new Redis(url)
  t.after(() => admin.disconnect())
  const log = keepLines()
  const queues = await open(t, { url, log })
  const consumer = queues.consume(work, async () => done, { concurrency: 1 })
  await queues.add(work, [{ id: 'a1', data: 1 }])
  await until('it was done', async () => (await queues.counts(work)).waiting === 0)
  await admin.config('SET', 'min-replicas-to-write', '1')
  await assert.rejects(
    queues.add(work, [{ id: 'b1', data: 1 }]),
    (error) => sure(error) && /NOREPLICAS/.test(String(error)),
  )
  const before = Number(/total_commands_processed:(\d+)/.exec(await admin.info('stats'))?.[1])
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  const after = Number(/total_commands_processed:(\d+)/.exec(await admin.info('stats'))?.[1])
  assert.ok(after - before < 200, `${after - before} commands while refused`)
  await admin.config('SET', 'min-replicas-to-write', '0')
  await queues.add(work, [{ id: 'c1', data: 1 }])
  await until('it goes on', async () => (await queues.counts(work)).waiting === 0)
  await consumer.close(5_000)
})

test('rediss:// with a private authority, and not with a stranger', async (t) => {
  const folder = await temporaryFolder(t)
  const file = (name: string) => join(folder, name)
  const openssl = (...parameters: string[]) => execFileSync('openssl', parameters, { cwd: folder, stdio: 'ignore' })
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
    ...subject,
    '-keyout',
    'key.pem',
    '-out',
    'cert.pem',
  )
  const port = await freePort()
  const tls = [
    '--tls-port',
    String(port),
    '--tls-cert-file',
    file('cert.pem'),
    '--tls-key-file',
    file('key.pem'),
    '--tls-ca-cert-file',
    file('cert.pem'),
  ]
  await startRedis(t, { parameters: [...tls, '--tls-auth-clients', 'no', '--requirepass', 'p@ss/word'] })
  const url = `rediss://:${encodeURIComponent('p@ss/word')}@127.0.0.1:${port}`
  const queues = await open(t, { url, tls: { ca: readFileSync(file('cert.pem'), 'utf8') } })
  const seen: string[] = []
  const consumer = queues.consume(work, async (job) => (seen.push(job.id), done), { concurrency: 1 })
  await queues.add(work, [{ id: 'a1', data: 1 }])
  await until('it came', () => seen.length === 1)
  await consumer.close(5_000)
  assert.ok(!queues.describe.includes('word'))

  const log = keepLines()
  const stranger = await open(t, { url, log })
  await assert.rejects(stranger.ping(), sure)
  assert.match(JSON.stringify(log.lines), /certificate/)
  assert.ok(!JSON.stringify(log.lines).includes('word'))
})

test('a Redis that has become full is worked off, and dead letters can be thrown away', async (t) => {
  const server = await startRedis(t)
  const admin = new Redis(server.port)
  t.after(() => admin.disconnect())
  const queues = await open(t, { url: server.url })
  const dead = { owner: 'w', part: 'dead' } as const
  const entering = { tally: [['r', 'accepted', 1]] } as const
  const ids = Array.from({ length: 60 }, (_, index) => `a${index}`)
  for (const queue of [work, dead])
    await queues.add(
      queue,
      ids.map((id) => ({ id, data: id, entering })),
    )
  const gate = Promise.withResolvers<void>()
  const consumer = queues.consume(
    work,
    async () => (await gate.promise, { kind: 'done', tally: [['r', 'delivered', 1]] }),
    { concurrency: 4 },
  )
  await until('some are in hand', async () => (await queues.counts(work)).active === 4)
  await admin.config('SET', 'maxmemory', '1')
  gate.resolve()
  await until('all are gone', async () => Object.values(await queues.counts(work)).every((count) => count === 0))
  assert.equal(await queues.store.lease('dead-letters', 'me', 60_000), true)
  assert.equal(await queues.remove(dead, ids, 'purged'), ids.length)
  assert.equal((await queues.ledger.left(work, ids)).size, ids.length)
  assert.equal((await queues.ledger.left(dead, ids)).size, ids.length)
  await admin.config('SET', 'maxmemory', '0')
  await consumer.close(5_000)
})

test('scripts that Redis has forgotten, or never took, are sent anew', async (t) => {
  const server = await startRedis(t)
  const admin = new Redis(server.port)
  t.after(() => admin.disconnect())
  const queues = await open(t, { url: server.url })
  const failures = { owner: 'w', part: 'failures' } as const
  const add = (id: string) => queues.add(failures, [{ id, data: id, entering: { tally: [['r', 'given-up', 1]] } }])
  await queues.counts(failures)
  // The first transaction with the scripts is refused whole.
  await admin.config('SET', 'maxmemory', '1')
  await assert.rejects(add('f1'), sure)
  await admin.config('SET', 'maxmemory', '0')
  await add('f2')
  await admin.call('SCRIPT', 'FLUSH')
  await add('f3')
  assert.deepEqual(
    (await queues.peek(failures, 0, 10)).map(({ id }) => id),
    ['f2', 'f3'],
  )
  assert.deepEqual((await queues.ledger.totals(failures)).lines, [
    { side: 'in', rule: 'r', what: 'given-up', messages: 2 },
  ])
})
