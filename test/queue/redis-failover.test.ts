import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { silent } from '../../src/core/log.ts'
import type { Handled, Queues } from '../../src/core/queue.ts'
import { openRedisQueues, type RedisQueuesOptions } from '../../src/queue/redis.ts'
import { until } from '../support/cleanup.ts'
import { keepLines } from '../support/logs.ts'
import { type RedisServer, startRedis, startSentinel } from '../support/redis.ts'
import { startTcpSwitch } from '../support/tcp-switch.ts'

const work = { owner: 'w', part: 'work' } as const
const done: Handled<never> = { kind: 'done' }
const short = { lockMs: 1_000, stalledCheckMs: 300, lookMs: 300 }

async function open(t: TestContext, options: Partial<RedisQueuesOptions> & { readonly url: string }): Promise<Queues> {
  const queues = await openRedisQueues({ role: 'ingest', log: silent, ...short, ...options })
  t.after(() => queues.close())
  return queues
}

async function ask({ port }: { readonly port: number }, ...command: readonly [string, ...string[]]) {
  const password = passwords.get(port)
  const redis = new Redis({
    port,
    enableReadyCheck: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    ...(password !== undefined && { password }),
  })
  redis.on('error', () => {})
  try {
    return await redis.call(...command)
  } finally {
    redis.disconnect()
  }
}

const passwords = new Map<number, string>()

async function startPair(t: TestContext, parameters: readonly string[] = []) {
  const quick = ['--repl-diskless-sync-delay', '0', ...parameters]
  const primary = await startRedis(t, { parameters: quick })
  const replica = await startRedis(t, { parameters: ['--replicaof', '127.0.0.1', String(primary.port), ...quick] })
  return { primary, replica }
}

const replicates = (server: RedisServer) =>
  until('a replica is connected', async () => /state=online/.test(String(await ask(server, 'INFO', 'replication'))))

/** Adds without end and consumes, a tenth of it only at the second try; knows what was acknowledged and what arrived. */
function carry(t: TestContext, adding: Queues, consuming: Queues) {
  const acknowledged = new Set<string>()
  const arrived = new Set<string>()
  const stop = new AbortController()
  t.after(() => stop.abort())
  const handler = async (job: { readonly id: string; readonly data: unknown }): Promise<Handled<unknown>> => {
    await sleep(2)
    if (job.data === 'twice') return { kind: 'again', data: 'now', afterMs: 50 }
    arrived.add(job.id)
    return done
  }
  const consumer = consuming.consume<unknown>(work, handler, { concurrency: 4 })
  const load = (async () => {
    for (let count = 0; !stop.signal.aborted; count += 1) {
      const jobs = [`a-${count}`, `b-${count}`].map((id) => ({ id, data: count % 10 === 0 ? 'twice' : 'once' }))
      await adding.add(work, jobs).then(
        () => jobs.forEach(({ id }) => acknowledged.add(id)),
        () => sleep(5),
      )
    }
  })()
  return {
    acknowledged,
    async more(count: number, ms?: number) {
      const before = acknowledged.size
      await until(`${count} more are acknowledged`, () => acknowledged.size >= before + count, ms)
    },
    async end() {
      stop.abort()
      await load
      const missing = () => [...acknowledged].filter((id) => !arrived.has(id))
      await until('every acknowledged one arrived', () => missing().length === 0, 20_000).catch(() =>
        assert.deepEqual(missing(), [], `of ${acknowledged.size}`),
      )
      await consumer.close(5_000)
    },
  }
}

test('a primary that becomes a replica behind one address is left, and what was acknowledged arrives from the next', async (t) => {
  const { primary, replica } = await startPair(t)
  const address = await startTcpSwitch(t, primary.port)
  await replicates(primary)
  const url = `redis://127.0.0.1:${address.port}`
  const log = keepLines()
  const ingest = await open(t, { url, durability: 'replicated', log })
  const worker = await open(t, { url, role: 'worker' })
  const traffic = carry(t, ingest, worker)
  await traffic.more(200)

  await ask(replica, 'REPLICAOF', 'NO', 'ONE')
  await ask(primary, 'REPLICAOF', '127.0.0.1', String(replica.port))
  // The address still leads to the node that was: nobody gets in, and nobody storms it.
  const before = address.taken()
  await sleep(1_500)
  assert.ok(address.taken() - before < 30, `${address.taken() - before} connections in 1.5 s`)
  address.to = replica.port
  await replicates(replica)
  await traffic.more(200, 8_000)
  await ingest.store.set('a', 1)
  assert.equal(await ingest.store.get('a'), 1)
  await traffic.end()
  assert.ok(log.lines.some(({ message }) => / is away/.test(message)))
  assert.ok(log.lines.length < 12, JSON.stringify(log.lines, undefined, 1))
})

test('an idle process leaves such a node too, before anything is added', async (t) => {
  const { primary, replica } = await startPair(t)
  const address = await startTcpSwitch(t, primary.port)
  await replicates(primary)
  const url = `redis://127.0.0.1:${address.port}`
  const ingest = await open(t, { url })
  const worker = await open(t, { url, role: 'worker' })
  const seen: string[] = []
  worker.consume(work, async ({ id }) => (seen.push(id), done), { concurrency: 1 })
  await ingest.ping()
  await sleep(300)
  address.to = replica.port
  await ask(replica, 'REPLICAOF', 'NO', 'ONE')
  await ask(primary, 'REPLICAOF', '127.0.0.1', String(replica.port))
  await until('the next add is taken', async () => {
    await sleep(500)
    return ingest.add(work, [{ id: 'x1', data: 1 }]).then(
      () => true,
      () => false,
    )
  })
  await until('and consumed', () => seen.length > 0)
})

test('a node that is loading is not waited for when another is behind the address', async (t) => {
  const slow = await startRedis(t)
  await ask(slow, 'EVAL', "for i = 1, 20000 do redis.call('SET', 'k' .. i, i) end", '0')
  await ask(slow, 'BGREWRITEAOF')
  await until('its file is written', async () =>
    /aof_rewrite_in_progress:0[^]*aof_last_bgrewrite_status:ok/.test(String(await ask(slow, 'INFO', 'persistence'))),
  )
  await slow.stop('SIGKILL')
  // Microseconds a key: some 20 s.
  const lazily = ['--key-load-delay', '1000', '--loading-process-events-interval-bytes', '1024']
  const loading = await startRedis(t, { port: slow.port, folder: slow.folder, parameters: lazily })
  const other = await startRedis(t)
  const address = await startTcpSwitch(t, loading.port)
  const url = `redis://127.0.0.1:${address.port}`
  const ingest = await open(t, { url })
  const worker = await open(t, { url, role: 'worker' })
  const seen: string[] = []
  worker.consume(work, async ({ id }) => (seen.push(id), done), { concurrency: 1 })
  await assert.rejects(ingest.add(work, [{ id: 'x1', data: 1 }]), { code: 'QUEUE_AWAY' })
  await sleep(1_500)
  assert.ok(address.taken() < 30, `${address.taken()} connections in 1.5 s`)
  address.to = other.port
  await until('the other one takes it', () =>
    ingest.add(work, [{ id: 'x2', data: 1 }]).then(
      () => true,
      () => false,
    ),
  )
  await until('and gives it', () => seen.includes('x2'))
  assert.match(String(await ask(loading, 'INFO', 'persistence')), /loading:1/, 'the first still loads')
})

test('sentinels are asked for the primary, and for the next one when it is killed under load', async (t) => {
  const secret = 'hunter2-of-redis'
  const sentinelSecret = 'hunter2-of-sentinel'
  const { primary, replica } = await startPair(t, ['--requirepass', secret, '--masterauth', secret])
  for (const { port } of [primary, replica]) passwords.set(port, secret)
  await replicates(primary)
  const lines = [`sentinel auth-pass plant ${secret}`, `requirepass ${sentinelSecret}`]
  const sentinel = await startSentinel(t, { name: 'plant', primary: primary.port, lines })
  passwords.set(sentinel.port, sentinelSecret)
  await until('the sentinel knows the replica', async () =>
    JSON.stringify(await ask(sentinel, 'SENTINEL', 'REPLICAS', 'plant')).includes(String(replica.port)),
  )
  // The first of the two sentinels is not there.
  const url = `redis+sentinel://:${secret}@127.0.0.1:1,127.0.0.1:${sentinel.port}/plant/1`
  const options = { url, sentinel: { password: sentinelSecret } }
  const log = keepLines()
  const ingest = await open(t, { ...options, durability: 'replicated', log })
  const worker = await open(t, { ...options, role: 'worker' })
  await until('it is there', () =>
    ingest.ping().then(
      () => true,
      () => false,
    ),
  )
  assert.match(ingest.describe, new RegExp(`redis\\+sentinel://127.0.0.1:1,127.0.0.1:${sentinel.port}/plant/1`))
  const traffic = carry(t, ingest, worker)
  await traffic.more(300)
  await primary.stop('SIGKILL')
  await until(
    'the replica is the primary',
    async () => /role:master/.test(String(await ask(replica, 'INFO', 'replication'))),
    15_000,
  )
  // The one that was comes back as a primary, for its sentinel takes some seconds to tell it; nobody may go to it.
  const parameters = ['--requirepass', secret, '--masterauth', secret]
  await startRedis(t, { port: primary.port, folder: primary.folder, parameters })
  await startRedis(t, { parameters: ['--replicaof', '127.0.0.1', String(replica.port), ...parameters] })
  await replicates(replica)
  await traffic.more(300, 20_000)
  await traffic.end()
  const said = JSON.stringify(log.lines) + ingest.describe
  assert.ok(!said.includes(secret) && !said.includes(sentinelSecret), said)
})
