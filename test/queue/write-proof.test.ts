import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { Redis } from 'ioredis'
import { QueueAwayError, SluiceError } from '../../src/core/errors.ts'
import { silent } from '../../src/core/log.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { WriteProof } from '../../src/queue/write-proof.ts'
import { until } from '../support/cleanup.ts'
import { startRedis } from '../support/redis.ts'

const work = { owner: 'w', part: 'work' } as const
const away = new QueueAwayError('away', true)

/** A proof whose writes are counted, at a time that is said. */
function counted() {
  const state = { writes: 0, at: 0, fails: false }
  const write = async () => {
    state.writes += 1
    if (state.fails) throw away
  }
  return { state, proof: new WriteProof(write, () => state.at) }
}

test('those who ask at once share one write, and within a second there is no other', async () => {
  const { state, proof } = counted()
  await Promise.all([proof.ask(), proof.ask(), proof.ask()])
  state.at = 999
  await proof.ask()
  assert.equal(state.writes, 1)
  state.at = 1_000
  await proof.ask()
  assert.equal(state.writes, 2)
  state.fails = true
  state.at = 2_000
  for (let time = 0; time < 3; time += 1) await assert.rejects(proof.ask(), away)
  assert.equal(state.writes, 3)
})

test('a write that was made anyway counts, and the last one decides', async () => {
  const { state, proof } = counted()
  await proof.of(async () => {})
  await proof.ask()
  await assert.rejects(
    proof.of(() => Promise.reject(away)),
    away,
  )
  await assert.rejects(proof.ask(), away)
  await proof.of(async () => {})
  await proof.ask()
  // Refused for what it is: that says nothing of the next one.
  const refused = new SluiceError('LIMIT_EXCEEDED')
  await assert.rejects(
    proof.of(() => Promise.reject(refused)),
    refused,
  )
  await proof.ask()
  assert.equal(state.writes, 0)
})

async function openOn(t: TestContext) {
  const { url } = await startRedis(t)
  const queues = await openRedisQueues({ url, role: 'ingest', log: silent })
  t.after(() => queues.close())
  const admin = new Redis(url)
  t.after(() => admin.disconnect())
  return { queues, admin }
}

test('a Redis that answers and takes no writes is not ready, and is again when it does', async (t) => {
  const { queues, admin } = await openOn(t)
  const isReady = () =>
    queues.ping().then(
      () => true,
      () => false,
    )
  for (const [what, spoil, mend] of [
    [/OOM/, ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0']],
    [/NOREPLICAS/, ['CONFIG', 'SET', 'min-replicas-to-write', '1'], ['CONFIG', 'SET', 'min-replicas-to-write', '0']],
    [/READONLY|cannot be reached/, ['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE']],
  ] as const) {
    await until('it is ready', isReady)
    await admin.call(spoil[0], ...spoil.slice(1))
    await until('it is not', async () => !(await isReady()), 2_000)
    await assert.rejects(queues.ping(), { code: 'QUEUE_AWAY', message: what })
    await assert.rejects(queues.add(work, [{ id: 'a1', data: 1 }]), { code: 'QUEUE_AWAY' })
    await admin.call(mend[0], ...mend.slice(1))
  }
  await until('it is ready', isReady)
  await queues.add(work, [{ id: 'a1', data: 1 }])
})

test('a busy queue is asked for no write of its own', async (t) => {
  const { queues, admin } = await openOn(t)
  const end = performance.now() + 1_200
  for (let count = 0; performance.now() < end; count += 1) {
    await queues.add(work, [{ id: `job-${count}`, data: 1 }])
    await queues.ping()
  }
  assert.equal(await admin.exists('{sluice}:proof'), 0)
})
