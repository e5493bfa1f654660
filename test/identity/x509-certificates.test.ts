import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { silent } from '../../src/core/log.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { openStoreRecords } from '../../src/identity/store-records.ts'
import { section } from '../../src/identity/x509/authorities.ts'
import { fingerprintOf } from '../../src/identity/x509/certificate.ts'
import { createCertificates } from '../../src/identity/x509/certificates.ts'
import { suiteScope } from '../support/command.ts'
import { directoryOf } from '../support/directory.ts'
import { createMemoryQueues } from '../support/memory-queues.ts'
import { openMaker } from './x509-makers.ts'

const maker = await openMaker(suiteScope())
const ca = maker.authority('/CN=Fleet CA')
const device = ca.issue({ subject: '/CN=d-17' })
const fingerprint = fingerprintOf(device.der)
const inFile = 'ab'.repeat(32)

async function open(t: TestContext, authority: object = {}) {
  const queues = createMemoryQueues()
  const records = await openStoreRecords({ store: queues.store, log: silent })
  t.after(() => records.close())
  const entry = section.schema.parse({ name: 'fleet', certificate: ca.pem, ...authority }) as { readonly name: string }
  const directory = directoryOf({
    things: [{ name: 'd-17' }, { name: 'd-18' }],
    policies: ['a', 'b'],
    principals: [
      { name: 'boss', thing: 'd-18', policies: ['a'], proofs: { x509: { fingerprint: inFile, status: 'ACTIVE' } } },
    ],
    sections: { certificateAuthorities: [entry] },
  })
  const registry = createRegistry(directory, records)
  return { records, certificates: createCertificates({ records, registry: () => registry, now: () => Date.now() }) }
}

const wrong = (message: RegExp) => ({ code: 'WRONG_USE', message })

describe('certificates for operators', () => {
  it('registers by certificate or fingerprint, lists, describes', async (t) => {
    const { certificates } = await open(t)
    const registered = await certificates.register(device.pem, { thing: 'd-17', policies: ['a', 'a'] })
    const { registeredAt, ...rest } = registered
    assert.ok(Number(registeredAt) > 0)
    assert.deepEqual(rest, {
      fingerprint,
      status: 'ACTIVE',
      from: 'record',
      principal: fingerprint,
      thing: 'd-17',
      policies: ['a'],
      authority: 'fleet',
    })
    const other = 'cd'.repeat(32)
    await certificates.register('CD:'.repeat(31) + 'CD', { status: 'INACTIVE' })
    assert.equal(certificates.describe(other).status, 'INACTIVE')
    assert.deepEqual(certificates.describe(inFile), {
      fingerprint: inFile,
      status: 'ACTIVE',
      from: 'file',
      principal: 'boss',
      thing: 'd-18',
      policies: ['a'],
    })
    assert.deepEqual(
      certificates.list().map((each) => each.fingerprint),
      [inFile, fingerprint, other],
    )
    await assert.rejects(certificates.register(device.pem), wrong(/registered already and ACTIVE/))
    assert.throws(() => certificates.describe('ef'.repeat(32)), wrong(/no certificate ef.* is registered/))
  })

  it('does not register what could not come in, or what leads nowhere', async (t) => {
    const { certificates } = await open(t, { crl: ca.crl([device]) })
    await assert.rejects(certificates.register('xyz'), wrong(/64 hex digits/))
    await assert.rejects(certificates.register(device.pem), wrong(/on the CRL of "fleet"/))
    await assert.rejects(certificates.register(ca.pem), wrong(/CA:TRUE/))
    await assert.rejects(certificates.register(ca.issue({ subject: '/CN=x', days: -1 }).pem), wrong(/not valid now/))
    await assert.rejects(certificates.register(device.key), wrong(/no certificate in it/))
    await assert.rejects(certificates.register(`${ca.pem}${ca.pem}`), wrong(/several/))
    await assert.rejects(certificates.register('ef'.repeat(32), { thing: 'nothing' }), wrong(/no thing "nothing"/))
    await assert.rejects(certificates.register('ef'.repeat(32), { policies: ['a', 'c'] }), wrong(/no policy "c"/))
    assert.equal(certificates.list().length, 1)
  })

  it('changes the status, but not to PENDING_ACTIVATION and not from REVOKED', async (t) => {
    const { certificates } = await open(t)
    await certificates.register(fingerprint)
    assert.equal((await certificates.setStatus(fingerprint, 'INACTIVE')).status, 'INACTIVE')
    assert.equal((await certificates.setStatus(fingerprint, 'ACTIVE')).status, 'ACTIVE')
    await assert.rejects(
      certificates.setStatus(fingerprint, 'PENDING_ACTIVATION' as never),
      wrong(/ACTIVE, INACTIVE or REVOKED/),
    )
    assert.equal((await certificates.setStatus(fingerprint, 'REVOKED')).status, 'REVOKED')
    for (const status of ['ACTIVE', 'INACTIVE'] as const)
      await assert.rejects(certificates.setStatus(fingerprint, status), wrong(/for good/))
    assert.equal((await certificates.setStatus(fingerprint, 'REVOKED')).status, 'REVOKED')
    await assert.rejects(certificates.attach(fingerprint, { thing: 'd-17' }), wrong(/for good/))
    await assert.rejects(certificates.register(fingerprint), wrong(/already and REVOKED/))
  })

  it('attaches and detaches', async (t) => {
    const { certificates } = await open(t)
    await certificates.register(fingerprint, { policies: ['a'] })
    await certificates.attach(fingerprint, { thing: 'd-17', policies: ['b', 'a'] })
    const { thing, policies } = await certificates.attach(fingerprint, { thing: 'd-18' })
    assert.deepEqual([thing, policies], ['d-18', ['a', 'b']])
    const less = await certificates.detach(fingerprint, { policies: ['a'] })
    assert.deepEqual([less.thing, less.policies], ['d-18', ['b']])
    assert.equal((await certificates.detach(fingerprint, { thing: true })).thing, undefined)
    await assert.rejects(certificates.attach(fingerprint, { policies: ['c'] }), wrong(/no policy "c"/))
    await assert.rejects(certificates.attach(fingerprint, { thing: 'x' }), wrong(/no thing "x"/))
    await assert.rejects(certificates.detach(fingerprint, { policies: ['a'] }), wrong(/"a" is not attached/))
  })

  it('sends those to the file whose certificate stands in one', async (t) => {
    const { certificates } = await open(t)
    const place = wrong(/entry of "boss" \(identity\/test\.yaml:1\); change it there/)
    await assert.rejects(certificates.setStatus(inFile, 'REVOKED'), place)
    await assert.rejects(certificates.attach(inFile, { thing: 'd-17' }), place)
    await assert.rejects(certificates.register(inFile), place)
    await assert.rejects(certificates.delete(inFile), place)
  })

  it('deletes only what is INACTIVE, or REVOKED and cannot come back', async (t) => {
    const { certificates, records } = await open(t)
    await certificates.register(device.pem)
    await assert.rejects(certificates.delete(fingerprint), wrong(/it is ACTIVE; set it to INACTIVE or REVOKED first/))
    await certificates.setStatus(fingerprint, 'INACTIVE')
    await certificates.delete(fingerprint)
    assert.equal(records.certificate(fingerprint), undefined)
    await certificates.register(device.pem, { status: 'REVOKED' })
    await certificates.delete(fingerprint)
    await assert.rejects(certificates.delete(fingerprint), wrong(/is registered/))

    const registering = await open(t, { register: 'pending' })
    await registering.certificates.register(device.pem, { status: 'REVOKED' })
    await assert.rejects(
      registering.certificates.delete(fingerprint),
      wrong(/"fleet" would register it anew \(register: pending\)/),
    )
  })

  it('survives that somebody else changes the same certificate', async (t) => {
    const { certificates } = await open(t)
    await certificates.register(fingerprint)
    await Promise.all([
      certificates.attach(fingerprint, { policies: ['a'] }),
      certificates.attach(fingerprint, { policies: ['b'] }),
      certificates.attach(fingerprint, { thing: 'd-17' }),
    ])
    const { thing, policies } = certificates.describe(fingerprint)
    assert.deepEqual([thing, policies.toSorted()], ['d-17', ['a', 'b']])
  })
})
