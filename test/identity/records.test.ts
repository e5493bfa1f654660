import assert from 'node:assert/strict'
import { describe, it, test, type TestContext } from 'node:test'
import type { Facts, Log } from '../../src/core/log.ts'
import { silent } from '../../src/core/log.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import type { CertificateRecord, Records } from '../../src/identity/records.ts'
import { openStoreRecords } from '../../src/identity/store-records.ts'
import { openEmbeddedQueues } from '../../src/queue/embedded.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { directoryOf } from '../support/directory.ts'
import { createMemoryQueues } from '../support/memory-queues.ts'
import { startRedis } from '../support/redis.ts'

const fingerprint = 'ab'.repeat(32)
const active: CertificateRecord = { fingerprint, status: 'ACTIVE', policies: ['p'], registeredAt: 1 }
const thing = { name: 'd-17', type: 'sensor', attributes: { site: 'hq' }, groups: ['field'], policies: [] }

function recorder() {
  const lines: (Facts & { readonly message: string })[] = []
  const write = (facts: Facts, message: string) => void lines.push({ ...facts, message })
  const log: Log = { debug: write, info: write, warn: write, error: write, with: () => log }
  return { log, lines, said: (words: string) => lines.some(({ message }) => message.includes(words)) }
}

async function inMemory(t: TestContext, log: Log = silent) {
  const queues = createMemoryQueues()
  const open = async (pollMs = 10) => {
    const records = await openStoreRecords({ store: queues.store, log, pollMs })
    t.after(() => records.close())
    return records
  }
  return { queues, open, table: queues.store.table('identity') }
}

describe('records in the store', () => {
  it('keeps certificates, things and policies, and shows own writes at once', async (t) => {
    const { open } = await inMemory(t)
    const records = await open(60_000)
    assert.equal(records.certificate(fingerprint), undefined)
    assert.equal(await records.putCertificate(active, undefined), true)
    assert.equal(await records.putThing(thing, undefined), true)
    assert.equal(await records.putPolicy({ name: 'p', document: { Statement: [] } }), true)
    assert.deepEqual(records.certificate(fingerprint), active)
    assert.deepEqual([...records.certificates()], [active])
    assert.deepEqual(records.thing('d-17'), thing)
    assert.deepEqual([...records.things()], [thing])
    assert.deepEqual(records.policy('p')?.document, { Statement: [] })
    assert.deepEqual([...(await open()).certificates()], [active])
    await records.deleteCertificate(fingerprint)
    assert.deepEqual([...records.certificates()], [])
    assert.equal(await records.putCertificate(active, undefined), true)
  })

  it('follows what others change, in their order, and tells it once', async (t) => {
    const { open } = await inMemory(t)
    const [mine, other] = [await open(), await open()]
    const told: unknown[] = []
    const stop = mine.onChange((changed) => told.push(changed))
    mine.onChange(() => {
      throw new Error('a listener with a defect')
    })
    await other.putThing(thing, undefined)
    await other.putCertificate({ ...active, thing: 'd-17' }, undefined)
    await until('it is seen', () => mine.certificate(fingerprint) !== undefined)
    assert.deepEqual(mine.thing('d-17'), thing)
    await mine.putCertificate({ ...active, status: 'INACTIVE' }, mine.certificate(fingerprint))
    await until('it is seen there', () => other.certificate(fingerprint)?.status === 'INACTIVE')
    stop()
    await other.deleteCertificate(fingerprint)
    await until('it is gone', () => mine.certificate(fingerprint) === undefined)
    const all = told as { certificates: string[]; things: string[]; policies: string[] }[]
    assert.deepEqual(
      all.flatMap(({ certificates }) => certificates),
      [fingerprint, fingerprint],
    )
    assert.deepEqual(
      all.flatMap(({ things }) => things),
      ['d-17'],
    )
    assert.deepEqual(
      all.flatMap(({ policies }) => policies),
      [],
    )
  })

  it('writes only over what the caller has seen, and shows the other then', async (t) => {
    const { open } = await inMemory(t)
    const [mine, other] = [await open(60_000), await open(60_000)]
    const puts = await Promise.all([mine, other].map((records) => records.putCertificate(active, undefined)))
    assert.deepEqual(new Set(puts), new Set([false, true]))
    assert.deepEqual(mine.certificate(fingerprint), active)
    assert.deepEqual(other.certificate(fingerprint), active)
    assert.equal(await mine.putCertificate({ ...active, status: 'INACTIVE' }, active), true)
    assert.equal(await other.putCertificate({ ...active, thing: 'x' }, active), false)
    assert.equal(other.certificate(fingerprint)?.status, 'INACTIVE')
    assert.equal(await other.putCertificate({ ...active, thing: 'x' }, active), false)
    assert.equal(await other.putThing(thing, undefined), true)
    assert.equal(await mine.putThing({ ...thing, groups: [] }, undefined), false)
    assert.deepEqual(mine.thing('d-17'), thing)
    await mine.putCertificate(active, mine.certificate(fingerprint))
    await assert.rejects(other.deleteCertificate(fingerprint), { code: 'WRONG_USE', message: /in the meantime/ })
    await other.deleteCertificate(fingerprint)
    await other.deleteCertificate('cd'.repeat(32))
  })

  it('lets nothing come back from REVOKED', async (t) => {
    const { open } = await inMemory(t)
    const records = await open()
    const revoked = { ...active, status: 'REVOKED' as const }
    await records.putCertificate(revoked, undefined)
    for (const status of ['ACTIVE', 'INACTIVE', 'PENDING_ACTIVATION'] as const)
      await assert.rejects(records.putCertificate({ ...active, status }, revoked), { code: 'WRONG_USE' })
    assert.equal(records.certificate(fingerprint)?.status, 'REVOKED')
  })

  it('writes nothing that it could not read', async (t) => {
    const { open } = await inMemory(t)
    const records = await open()
    await assert.rejects(records.putThing({ ...thing, name: 'a/b' }, undefined), { code: 'WRONG_USE', message: /name/ })
    await assert.rejects(records.putPolicy({ name: 'p', document: 'x' }), { code: 'WRONG_USE', message: /document/ })
  })

  it('denies what a record that cannot be read is about, and says which', async (t) => {
    const { log, lines } = recorder()
    const { open, table } = await inMemory(t, log)
    const other = 'cd'.repeat(32)
    await table.put(`certificate/${fingerprint}`, { ...active, status: 'active' })
    await table.put(`certificate/${other}`, active)
    await table.put('thing/d-17', { ...thing, groups: 'field' })
    await table.put('policy/p', { name: 'p', document: [] })
    await table.put('novelty/x', {})
    await table.put('constructor', {})
    const records = await open()
    assert.equal(records.certificate(fingerprint)?.status, 'REVOKED')
    assert.equal(records.certificate(other)?.status, 'REVOKED')
    const registry = createRegistry(directoryOf({ policies: ['real'] }), records)
    const documents = registry.policiesOfThing('d-17').map(({ document }) => document)
    assert.deepEqual(documents, [undefined], 'a policy without a document denies everything')
    assert.equal(records.policy('p')?.document, undefined)
    const named = lines.map(({ record }) => record)
    for (const record of [`certificate/${fingerprint}`, `certificate/${other}`, 'thing/d-17', 'policy/p', 'novelty/x'])
      assert.ok(named.includes(record), record)
    // Written anew they are good again, but for what is revoked.
    assert.equal(await records.putThing(thing, records.thing('d-17')), true)
    assert.deepEqual(records.thing('d-17'), thing)
    await assert.rejects(records.putCertificate(active, records.certificate(fingerprint)), { code: 'WRONG_USE' })
  })

  it('starts without a store, says so, writes nothing, and loads when it is there', async (t) => {
    const { log, said } = recorder()
    const { queues, open } = await inMemory(t, log)
    await (await open()).putCertificate(active, undefined)
    queues.away = true
    const records = await open()
    assert.ok(said('cannot be loaded'))
    assert.equal(records.certificate(fingerprint), undefined)
    await assert.rejects(records.putCertificate(active, undefined), { code: 'QUEUE_AWAY' })
    await assert.rejects(records.deleteCertificate(fingerprint), { code: 'QUEUE_AWAY' })
    queues.away = false
    await until('it is loaded', () => records.certificate(fingerprint) !== undefined)
    await until('it is said', () => said('followed again'))
    queues.away = true
    await until('it is said', () => said('cannot be followed'))
    assert.deepEqual(records.certificate(fingerprint), active, 'what is known counts')
  })

  it('goes with a store that has lost what it had', async (t) => {
    const { log, said } = recorder()
    let queues = createMemoryQueues()
    const table = (name: string) => ({
      put: (...rest: [string, unknown, number?]) => queues.store.table(name).put(...rest),
      since: <Value>(version: number, limit?: number) => queues.store.table(name).since<Value>(version, limit),
    })
    const records = await openStoreRecords({ store: { table, onReturn() {} }, log, pollMs: 10 })
    t.after(() => records.close())
    await records.putThing(thing, undefined)
    await records.putCertificate(active, undefined)
    const told: string[] = []
    records.onChange(({ certificates }) => told.push(...certificates))
    await new Promise((resolve) => setTimeout(resolve, 50))
    const restored = createMemoryQueues()
    await restored.store.table('identity').put('thing/d-17', thing)
    queues = restored
    await until('the certificate is gone', () => records.certificate(fingerprint) === undefined)
    assert.deepEqual(records.thing('d-17'), thing)
    assert.deepEqual(told, [fingerprint])
    assert.ok(said('lost records'))
    assert.equal(await records.putCertificate(active, undefined), true)
  })

  it('loads more than a page', async (t) => {
    const { open, table } = await inMemory(t)
    for (let index = 0; index < 2_500; index += 1) await table.put(`thing/t${index}`, { ...thing, name: `t${index}` })
    assert.equal([...(await open()).things()].length, 2_500)
  })
})

test('two ingests on one Redis see each other in well under a second', async (t) => {
  const server = await startRedis(t)
  const open = async (): Promise<Records> => {
    const queues = await openRedisQueues({ url: server.url, role: 'ingest', log: silent })
    t.after(() => queues.close())
    const records = await openStoreRecords({ store: queues.store, log: silent })
    t.after(() => records.close())
    return records
  }
  const [mine, other] = [await open(), await open()]
  const seen = new Promise<void>((resolve) => other.onChange(() => resolve()))
  assert.equal(await mine.putCertificate(active, undefined), true)
  await Promise.race([
    seen,
    new Promise((_, reject) => setTimeout(() => reject(new Error('not within a second')), 1_000).unref()),
  ])
  assert.deepEqual(other.certificate(fingerprint), active)
  const puts = await Promise.all(
    [mine, other].map((records, index) => records.putCertificate({ ...active, thing: `t${index}` }, active)),
  )
  assert.deepEqual(new Set(puts), new Set([false, true]))
})

test('an ingest starts while Redis is away', async (t) => {
  const port = await freePort()
  const queues = await openRedisQueues({ url: `redis://127.0.0.1:${port}`, role: 'ingest', log: silent })
  t.after(() => queues.close())
  const { log, said } = recorder()
  const records = await openStoreRecords({ store: queues.store, log })
  t.after(() => records.close())
  assert.ok(said('cannot be loaded'))
  await startRedis(t, { port })
  await until('it is loaded', () => said('followed again'))
  assert.equal(await records.putCertificate(active, undefined), true)
})

test('records survive in the embedded queue', async (t) => {
  const folder = await temporaryFolder(t)
  const first = await openEmbeddedQueues({ folder, log: silent })
  const records = await openStoreRecords({ store: first.store, log: silent })
  assert.equal(await records.putCertificate(active, undefined), true)
  assert.equal(await records.putCertificate({ ...active, status: 'INACTIVE' }, active), true)
  records.close()
  await first.close()
  const second = await openEmbeddedQueues({ folder, log: silent })
  t.after(() => second.close())
  const again = await openStoreRecords({ store: second.store, log: silent })
  t.after(() => again.close())
  assert.equal(again.certificate(fingerprint)?.status, 'INACTIVE')
})
