import assert from 'node:assert/strict'
import { describe, it, test, type TestContext } from 'node:test'
import type { Presented, Verdict } from '../../src/core/access.ts'
import type { Thing } from '../../src/core/directory.ts'
import { type Facts, type Log, silent } from '../../src/core/log.ts'
import type { Queues } from '../../src/core/queue.ts'
import type { CertificateRecord, Records } from '../../src/identity/records.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { openStoreRecords } from '../../src/identity/store-records.ts'
import { x509 } from '../../src/identity/x509.ts'
import { section } from '../../src/identity/x509/authorities.ts'
import { fingerprintOf } from '../../src/identity/x509/certificate.ts'
import { createCertificates } from '../../src/identity/x509/certificates.ts'
import { examinePolicyDocument } from '../../src/policy/examine.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { authContext } from '../support/auth-context.ts'
import { until } from '../support/cleanup.ts'
import { suiteScope } from '../support/command.ts'
import { directoryOf } from '../support/directory.ts'
import { createMemoryQueues } from '../support/memory-queues.ts'
import { startRedis } from '../support/redis.ts'
import { type MadeCertificate, openMaker } from './x509-makers.ts'

const maker = await openMaker(suiteScope())
const ca = maker.authority('/CN=Fleet CA')
const impostor = maker.authority('/CN=Fleet CA')
const device = ca.issue({ subject: '/C=DE/O=Acme, Inc./OU=line 1/CN=d-17/serialNumber=0007' })
const fingerprint = fingerprintOf(device.der)
const caId = fingerprintOf(ca.der)
const refused: Verdict = { kind: 'refused', reason: 'unknown or refused certificate' }

const tls = ({ der }: MadeCertificate, ...chain: readonly MadeCertificate[]): Presented => ({
  protocol: 'mqtt',
  tls: { certificate: der, chain: chain.map((each) => each.der) },
})

type Directory = Parameters<typeof directoryOf>[0]

function recorder() {
  const lines: (Facts & { readonly message: string })[] = []
  const write = (facts: Facts, message: string) => void lines.push({ ...facts, message })
  const log: Log = { debug: write, info: write, warn: write, error: write, with: () => log }
  return {
    log,
    why: () => lines.map(({ problem }) => problem).findLast((problem) => typeof problem === 'string') ?? '',
  }
}

/** An ingest on these queues, with the authority `fleet`. */
async function ingest(t: TestContext, queues: Queues, settings: object, directory: Directory = {}, more: object = {}) {
  const records = await openStoreRecords({ store: queues.store, log: silent, pollMs: 100 })
  t.after(() => records.close())
  const entries = [
    section.schema.parse({ name: 'fleet', certificate: ca.pem, ...settings }) as { readonly name: string },
  ]
  const parts = directoryOf({
    policies: ['telemetry'],
    groups: [{ name: 'field' }, { name: 'DE' }],
    ...directory,
    sections: { certificateAuthorities: entries },
  })
  const registry = createRegistry(parts, records)
  const { log, why } = recorder()
  const context = { ...authContext(registry, { records, log }), examinePolicyDocument, ...more }
  const method = x509.open(context)
  const certificates = createCertificates({ records, registry: () => registry })
  return {
    method,
    records,
    registry,
    context,
    why,
    certificates,
    ask: (presented: Presented) => method.authenticate(presented),
  }
}

describe('x509: just-in-time registration', () => {
  it('keeps an unknown certificate as pending, refuses it, and announces it at each connect', async (t) => {
    const { ask, records, context } = await ingest(
      t,
      createMemoryQueues(),
      { register: 'pending' },
      {},
      { now: () => Date.now() },
    )
    assert.deepEqual(await ask(tls(device)), refused)
    const record = records.certificate(fingerprint)
    assert.ok(record !== undefined)
    const { registeredAt, ...rest } = record
    assert.deepEqual(rest, { fingerprint, status: 'PENDING_ACTIVATION', policies: [], authority: 'fleet' })
    assert.deepEqual(await ask(tls(device)), refused)
    assert.equal(context.announced.length, 2)
    for (const { topic, payload } of context.announced) {
      assert.equal(topic, `$aws/events/certificates/registered/${caId}`)
      const { timestamp, ...others } = payload as { timestamp: number }
      assert.ok(Math.abs(timestamp - Date.now()) < 60_000)
      assert.deepEqual(others, {
        certificateId: fingerprint,
        caCertificateId: caId,
        certificateStatus: 'PENDING_ACTIVATION',
        awsAccountId: '123456789012',
        certificateRegistrationTimestamp: String(registeredAt),
      })
    }
  })

  it('announces once for the requests of one connection', async (t) => {
    const { ask, context } = await ingest(t, createMemoryQueues(), { register: 'pending' })
    const http = { method: 'POST', path: '/topics/x', query: '', headers: {}, connection: {} }
    const request: Presented = { ...tls(device), protocol: 'http', http }
    await ask(request)
    await ask(request)
    assert.equal(context.announced.length, 1)
    await ask({ ...request, http: { ...http, connection: {} } })
    assert.equal(context.announced.length, 2)
  })

  it('registers and announces nothing when a connection is asked about again', async (t) => {
    const { method, records, context } = await ingest(t, createMemoryQueues(), { register: 'pending' })
    assert.deepEqual(await method.renew?.(tls(device), { name: fingerprint, method: 'x509' }), refused)
    assert.deepEqual([[...records.certificates()], context.announced], [[], []])
  })

  it('takes a chain of intermediates that leads up to the authority, and no broken one', async (t) => {
    const line = ca.below('/CN=Line 1')
    const cell = line.below('/CN=Cell 7')
    const leaf = cell.issue({ subject: '/CN=d-18' })
    const id = fingerprintOf(leaf.der)
    const impostorsLine = impostor.below('/CN=Line 1')
    const late = { ...line, ...ca.issue({ subject: '/CN=Line 1', days: -1 }) }
    const plain = ca.issue({ subject: '/CN=plain', extensions: ['basicConstraints=CA:FALSE'] })
    const closed = ca.below('/CN=Closed', ['basicConstraints=critical,CA:TRUE,pathlen:0'])
    const tooDeep = closed.below('/CN=Deep')
    const attempt = async (leaf: MadeCertificate, ...chain: readonly MadeCertificate[]) => {
      const opened = await ingest(t, createMemoryQueues(), { register: 'pending' })
      await opened.ask(tls(leaf, ...chain))
      return [...opened.records.certificates()].map((record) => record.fingerprint)
    }
    assert.deepEqual(await attempt(leaf, cell, line), [id])
    assert.deepEqual(await attempt(leaf, line, cell, ca), [id], 'in any order')
    assert.deepEqual(await attempt(leaf, cell), [], 'a gap')
    assert.deepEqual(await attempt(leaf), [])
    assert.deepEqual(await attempt(leaf, cell, impostorsLine), [], 'an authority of the same subject')
    assert.deepEqual(await attempt(leaf, cell, late), [])
    assert.deepEqual(await attempt(impostorsLine.issue({ subject: '/CN=x' }), impostorsLine, impostor), [])
    // A certificate of a client issues nothing, though its key can sign.
    const forged = maker.selfSigned('/CN=plain', [])
    assert.deepEqual(await attempt(forged, plain), [])
    assert.equal((await attempt(closed.issue({ subject: '/CN=x' }), closed)).length, 1)
    assert.deepEqual(await attempt(tooDeep.issue({ subject: '/CN=x' }), tooDeep, closed), [], 'deeper than it may be')
  })

  it('asks the CRL about intermediates, and a registered intermediate for itself', async (t) => {
    const line = ca.below('/CN=Line 1')
    const leaf = line.issue({ subject: '/CN=d-18' })
    const { ask, records } = await ingest(t, createMemoryQueues(), { register: 'pending', crl: ca.crl([line]) })
    await ask(tls(leaf, line))
    assert.deepEqual([...records.certificates()], [])

    const entries = [
      section.schema.parse({ name: 'root', certificate: ca.pem, register: 'pending' }),
      section.schema.parse({ name: 'line', certificate: line.pem, register: 'pending', status: 'INACTIVE' }),
    ] as { readonly name: string }[]
    const registry = createRegistry(directoryOf({ sections: { certificateAuthorities: entries } }), records)
    await x509.open(authContext(registry, { records })).authenticate(tls(leaf, line))
    assert.deepEqual([...records.certificates()], [])
  })

  it('registers nothing for an authority that is INACTIVE, expired, refuses, or is another of the same subject', async (t) => {
    for (const [title, settings, certificate, now] of [
      ['INACTIVE', { register: 'pending', status: 'INACTIVE' }, device, undefined],
      ['refuses', {}, device, undefined],
      ['another', { register: 'pending' }, impostor.issue({ subject: '/CN=x' }), undefined],
      [
        'self-signed',
        { register: 'pending' },
        maker.selfSigned('/CN=Fleet CA', ['basicConstraints=CA:FALSE']),
        undefined,
      ],
      ['revoked', { register: 'pending', crl: ca.crl([device]) }, device, undefined],
      ['expired', { register: 'pending' }, ca.issue({ subject: '/CN=x', days: 9 }), () => Date.now() + 5 * 86_400_000],
    ] as const) {
      const more = now === undefined ? {} : { now }
      const { ask, records } = await ingest(t, createMemoryQueues(), settings, {}, more)
      assert.deepEqual(await ask(tls(certificate)), refused, title)
      assert.deepEqual([...records.certificates()], [], title)
    }
  })

  it('keeps no more than maxPending', async (t) => {
    const { ask, records, why, certificates } = await ingest(t, createMemoryQueues(), {
      register: 'pending',
      maxPending: 2,
    })
    const devices = [device, ca.issue({ subject: '/CN=a' }), ca.issue({ subject: '/CN=b' })]
    for (const each of devices) await ask(tls(each))
    assert.equal([...records.certificates()].length, 2)
    assert.match(why(), /2 certificates of it wait for activation.*maxPending/)
    await certificates.setStatus(fingerprint, 'INACTIVE')
    for (const each of devices) await ask(tls(each))
    assert.equal([...records.certificates()].length, 3)
  })

  it('refuses while the store is away, and falls through to nobody', async (t) => {
    const queues = createMemoryQueues()
    queues.away = true
    const { ask, records } = await ingest(t, queues, { register: 'pending' })
    assert.deepEqual(await ask(tls(device)), refused)
    queues.away = false
    await until('it is loaded', async () => ((await ask(tls(device))).kind, records.certificate(fingerprint)))
  })

  it('lets no record in under the name of an entry that does not have the certificate', async (t) => {
    const principals = [{ name: fingerprint, proofs: {} }]
    const { ask, certificates, why } = await ingest(t, createMemoryQueues(), {}, { principals })
    await certificates.register(device.pem)
    assert.deepEqual(await ask(tls(device)), refused)
    assert.match(why(), /an entry of identity\/ has its name/)
  })

  it('lets a record in only while it is ACTIVE, and the files win', async (t) => {
    const queues = createMemoryQueues()
    const { ask, records, certificates } = await ingest(
      t,
      queues,
      { register: 'pending' },
      { things: [{ name: 'd-17' }] },
    )
    await ask(tls(device))
    await certificates.attach(fingerprint, { thing: 'd-17', policies: ['telemetry'] })
    assert.deepEqual(await ask(tls(device)), refused)
    await certificates.setStatus(fingerprint, 'ACTIVE')
    const verdict = await ask(tls(device))
    assert.ok(verdict.kind === 'principal')
    const { name, id, thing, method, certificate } = verdict.principal
    assert.deepEqual([name, id, thing, method], [fingerprint, fingerprint, 'd-17', 'x509'])
    assert.deepEqual(certificate?.subject?.['CommonName'], ['d-17'])
    await certificates.setStatus(fingerprint, 'INACTIVE')
    assert.deepEqual(await ask(tls(device)), refused)
    await certificates.setStatus(fingerprint, 'REVOKED')
    assert.deepEqual(await ask(tls(device)), refused)

    const principals = [{ name: 'boss', proofs: { x509: x509.proof.schema.parse({ fingerprint }) } }]
    const registry = createRegistry(directoryOf({ principals }), records)
    const inFile = await x509.open(authContext(registry, { records })).authenticate(tls(device))
    assert.ok(inFile.kind === 'principal' && inFile.principal.name === 'boss')
  })
})

const template = {
  Parameters: {
    'AWS::IoT::Certificate::Id': { Type: 'String' },
    'AWS::IoT::Certificate::CommonName': { Type: 'String' },
    'AWS::IoT::Certificate::Country': { Type: 'String' },
    'AWS::IoT::Certificate::SerialNumber': { Type: 'String' },
  },
  Resources: {
    thing: {
      Type: 'AWS::IoT::Thing',
      Properties: {
        ThingName: { Ref: 'AWS::IoT::Certificate::CommonName' },
        AttributePayload: { serial: { Ref: 'AWS::IoT::Certificate::SerialNumber' }, version: 'v1' },
        ThingTypeName: 'sensor',
        ThingGroups: ['field', { Ref: 'AWS::IoT::Certificate::Country' }],
      },
    },
    certificate: {
      Type: 'AWS::IoT::Certificate',
      Properties: { CertificateId: { Ref: 'AWS::IoT::Certificate::Id' }, Status: 'ACTIVE' },
    },
    named: { Type: 'AWS::IoT::Policy', Properties: { PolicyName: 'telemetry' } },
    own: {
      Type: 'AWS::IoT::Policy',
      Properties: {
        PolicyDocument: {
          Version: '2012-10-17',
          Statement: [
            {
              Effect: 'Allow',
              Action: 'iot:Publish',
              Resource: {
                'Fn::Join': ['', ['arn:aws:iot:*:*:topic/d/', { Ref: 'AWS::IoT::Certificate::CommonName' }, '/*']],
              },
            },
          ],
        },
      },
    },
  },
}

const merge = (override: object) => ({
  ...template,
  Resources: { ...template.Resources, thing: { ...template.Resources.thing, OverrideSettings: override } },
})
const made: Thing = {
  name: 'd-17',
  type: 'sensor',
  attributes: { serial: '0007', version: 'v1' },
  groups: ['field', 'DE'],
  policies: [],
}

describe('x509: just-in-time provisioning', () => {
  it('makes thing and policies, attaches them, activates the certificate, and lets it in at once', async (t) => {
    const { ask, records, registry } = await ingest(t, createMemoryQueues(), { register: 'provision', template })
    const verdict = await ask(tls(device))
    assert.ok(verdict.kind === 'principal')
    assert.equal(verdict.principal.thing, 'd-17')
    assert.deepEqual(records.thing('d-17'), made)
    const record = records.certificate(fingerprint)
    assert.equal(record?.status, 'ACTIVE')
    assert.equal(record?.authority, 'fleet')
    const [, own = ''] = record?.policies ?? []
    assert.deepEqual(record?.policies, ['telemetry', own])
    assert.deepEqual(records.policy(own)?.document, {
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Action: 'iot:Publish', Resource: 'arn:aws:iot:*:*:topic/d/d-17/*' }],
    })
    assert.deepEqual(
      registry.policiesOf(verdict.principal).map(({ name }) => name),
      ['telemetry', own],
    )
  })

  it('gives nothing until all is there, and goes on where it broke off', async (t) => {
    // The store goes away after so many writes.
    for (const writes of [0, 1, 2, 3]) {
      const queues = createMemoryQueues()
      let left = writes
      const breaking: Queues = {
        ...queues,
        store: {
          ...queues.store,
          table(name) {
            const table = queues.store.table(name)
            return {
              since: (version, limit) => table.since(version, limit),
              async put(key, value, ifVersion) {
                if ((left -= 1) < 0) throw new Error('the store is away')
                return table.put(key, value, ifVersion)
              },
            }
          },
        },
      }
      const first = await ingest(t, breaking, { register: 'provision', template })
      assert.deepEqual(await first.ask(tls(device)), refused)
      assert.notEqual(first.records.certificate(fingerprint)?.status, 'ACTIVE', `after ${writes} writes`)
      assert.deepEqual(await first.method.renew?.(tls(device), { name: fingerprint, method: 'x509' }), refused)
      const second = await ingest(t, queues, { register: 'provision', template })
      assert.equal((await second.ask(tls(device))).kind, 'principal', `after ${writes} writes`)
      assert.deepEqual(second.records.thing('d-17'), made)
    }
  })

  it('is refused and leaves nothing behind where the template has no result', async (t) => {
    const nameless = ca.issue({ subject: '/C=DE/serialNumber=1' })
    const withRef = (reference: object) => ({
      ...template,
      Resources: {
        ...template.Resources,
        own: {
          Type: 'AWS::IoT::Policy',
          Properties: {
            PolicyDocument: {
              Version: '2012-10-17',
              Statement: [{ Effect: 'Allow', Action: 'iot:*', Resource: reference }],
            },
          },
        },
      },
    })
    const star = ca.issue({ subject: '/C=DE/CN=*/serialNumber=1' })
    const odd = ca.issue({ subject: '/C=DE/CN=a b/serialNumber=1' })
    const elsewhere = ca.issue({ subject: '/C=FR/CN=a/serialNumber=1' })
    const cases: readonly (readonly [MadeCertificate, object, RegExp])[] = [
      [nameless, template, /no value for AWS::IoT::Certificate::CommonName/],
      [odd, template, /ThingName is "a b"/],
      [star, template, /ThingName is "\*"/],
      [elsewhere, template, /there is no group "FR"/],
      [device, withRef({ Ref: 'AWS::IoT::Certificate::CommonName' }), /PolicyDocument\.Statement\.0\.Resource/],
      [
        star,
        {
          ...withRef({ 'Fn::Join': ['', ['arn:aws:iot:*:*:topic/', { Ref: 'AWS::IoT::Certificate::CommonName' }]] }),
          Resources: {
            certificate: template.Resources.certificate,
            own: withRef({ 'Fn::Sub': 'arn:aws:iot:*:*:topic/${AWS::IoT::Certificate::CommonName}' }).Resources.own,
          },
        },
        /characters that may not stand in a policy/,
      ],
      [
        device,
        {
          ...template,
          Resources: {
            ...template.Resources,
            named: { Type: 'AWS::IoT::Policy', Properties: { PolicyName: { Ref: 'AWS::IoT::Certificate::Country' } } },
          },
        },
        /there is no policy "DE"/,
      ],
    ]
    for (const [certificate, template, problem] of cases) {
      const { ask, records, why } = await ingest(t, createMemoryQueues(), { register: 'provision', template })
      assert.deepEqual(await ask(tls(certificate)), refused)
      assert.match(why(), problem)
      assert.deepEqual([[...records.certificates()], [...records.things()]], [[], []])
    }
  })

  it('attaches a new certificate to the thing that its authority has made, and to no other unless told', async (t) => {
    const queues = createMemoryQueues()
    const next = ca.issue({ subject: '/C=DE/CN=d-17/serialNumber=0007' })
    const { ask, records } = await ingest(t, queues, { register: 'provision', template })
    assert.equal((await ask(tls(device))).kind, 'principal')
    assert.equal((await ask(tls(next))).kind, 'principal')
    assert.equal(records.certificate(fingerprintOf(next.der))?.thing, 'd-17')

    const things = [{ name: 'd-17', attributes: { site: 'hq' } }]
    const foreign = await ingest(t, createMemoryQueues(), { register: 'provision', template }, { things })
    assert.deepEqual(await foreign.ask(tls(device)), refused)
    assert.match(foreign.why(), /existingThings: attach/)
    const settings = {
      register: 'provision',
      template: merge({ AttributePayload: 'REPLACE' }),
      existingThings: 'attach',
    }
    const attaching = await ingest(t, createMemoryQueues(), settings, { things })
    assert.equal((await attaching.ask(tls(device))).kind, 'principal')
    // The files win: nothing was written beside them.
    assert.deepEqual(attaching.registry.thing('d-17')?.attributes, { site: 'hq' })
    assert.deepEqual([...attaching.records.things()], [])
  })

  it('is not attached to a thing that came while its own certificate waited', async (t) => {
    for (const made of ['by people', 'by another authority'] as const) {
      const queues = createMemoryQueues()
      const files = made === 'by people' ? { things: [{ name: 'd-17' }] } : {}
      const { ask, records, why } = await ingest(t, queues, { register: 'provision', template }, files)
      const common = { thing: 'd-17', policies: [], registeredAt: 1 }
      const waiting = { ...common, fingerprint, status: 'PENDING_ACTIVATION', authority: 'fleet' } as const
      assert.ok(await records.putCertificate(waiting, undefined))
      if (made === 'by another authority') {
        const other = { ...common, fingerprint: 'a'.repeat(64), status: 'ACTIVE', authority: 'other' } as const
        assert.ok(await records.putThing({ name: 'd-17', attributes: {}, groups: [], policies: [] }, undefined))
        assert.ok(await records.putCertificate(other, undefined))
      }
      assert.deepEqual(await ask(tls(device)), refused, made)
      assert.match(why(), /existingThings: attach/)
      assert.equal(records.certificate(fingerprint)?.status, 'PENDING_ACTIVATION')
    }
  })

  it('treats a thing that is there as OverrideSettings say', async (t) => {
    const there: Thing = {
      name: 'd-17',
      type: 'old',
      attributes: { serial: '1', site: 'hq' },
      groups: ['field'],
      policies: [],
    }
    const outcomes: readonly (readonly [object, Partial<Thing> | RegExp])[] = [
      [{}, there],
      [{ AttributePayload: 'DO_NOTHING', ThingTypeName: 'DO_NOTHING', ThingGroups: 'DO_NOTHING' }, there],
      [
        { AttributePayload: 'REPLACE', ThingTypeName: 'REPLACE', ThingGroups: 'REPLACE' },
        { ...made, groups: ['field', 'DE'] },
      ],
      [
        { AttributePayload: 'MERGE', ThingGroups: 'MERGE' },
        { ...there, attributes: { serial: '0007', site: 'hq', version: 'v1' }, groups: ['field', 'DE'] },
      ],
      [{ ThingTypeName: 'FAIL' }, /other type already/],
      [{ AttributePayload: 'FAIL' }, /other attributes already/],
      [{ ThingGroups: 'FAIL' }, /other groups already/],
    ]
    for (const [override, outcome] of outcomes) {
      const settings = { register: 'provision', template: merge(override), existingThings: 'attach' }
      const { ask, records, why } = await ingest(t, createMemoryQueues(), settings)
      await records.putThing(there, undefined)
      const verdict = await ask(tls(device))
      if (outcome instanceof RegExp) assert.match(why(), outcome)
      else assert.deepEqual(records.thing('d-17'), outcome)
      assert.equal(verdict.kind, outcome instanceof RegExp ? 'refused' : 'principal')
    }
  })

  it('leaves what people have decided: INACTIVE and REVOKED are not provisioned again', async (t) => {
    const { ask, certificates } = await ingest(t, createMemoryQueues(), { register: 'provision', template })
    await ask(tls(device))
    await certificates.setStatus(fingerprint, 'INACTIVE')
    assert.deepEqual(await ask(tls(device)), refused)
    await certificates.setStatus(fingerprint, 'REVOKED')
    assert.deepEqual(await ask(tls(device)), refused)
    await assert.rejects(certificates.delete(fingerprint), /would register it anew/)
  })

  it('may leave the certificate INACTIVE', async (t) => {
    const certificate = {
      Type: 'AWS::IoT::Certificate',
      Properties: { CertificateId: { Ref: 'AWS::IoT::Certificate::Id' }, Status: 'INACTIVE' },
    }
    const settings = {
      register: 'provision',
      template: { ...template, Resources: { ...template.Resources, certificate } },
    }
    const { ask, records } = await ingest(t, createMemoryQueues(), settings)
    assert.deepEqual(await ask(tls(device)), refused)
    assert.equal(records.certificate(fingerprint)?.status, 'INACTIVE')
  })
})

describe('x509: two ingests on one Redis', () => {
  async function two(t: TestContext, settings: object) {
    const server = await startRedis(t)
    const open = async () => {
      const queues = await openRedisQueues({ url: server.url, role: 'ingest', log: silent })
      t.after(() => queues.close())
      return ingest(t, queues, settings)
    }
    return Promise.all([open(), open()])
  }

  const seen = (records: Records, status: CertificateRecord['status']) =>
    until(`it is ${status}`, () => records.certificate(fingerprint)?.status === status, 1_000)

  test('a device that comes to both at once is registered once, and what one does the other knows within a second', async (t) => {
    const [one, other] = await two(t, { register: 'pending' })
    assert.deepEqual(await Promise.all([one.ask(tls(device)), other.ask(tls(device))]), [refused, refused])
    assert.deepEqual(one.records.certificate(fingerprint), other.records.certificate(fingerprint))
    assert.deepEqual([one.context.announced.length, other.context.announced.length], [1, 1])
    await one.certificates.setStatus(fingerprint, 'ACTIVE')
    await seen(other.records, 'ACTIVE')
    const verdict = await other.ask(tls(device))
    assert.ok(verdict.kind === 'principal')
    const changed = new Promise<readonly string[]>((resolve) =>
      other.records.onChange(({ certificates }) => resolve(certificates)),
    )
    await one.certificates.setStatus(fingerprint, 'REVOKED')
    assert.deepEqual(await changed, [fingerprint])
    await seen(other.records, 'REVOKED')
    assert.deepEqual(await other.method.renew?.(tls(device), verdict.principal), refused)
    await assert.rejects(other.certificates.setStatus(fingerprint, 'ACTIVE'), /for good/)
  })

  test('a device that comes to both at once is provisioned once', async (t) => {
    const [one, other] = await two(t, { register: 'provision', template })
    const verdicts = await Promise.all([one, other, one, other].map(async ({ ask }) => ask(tls(device))))
    for (const verdict of verdicts) assert.equal(verdict.kind, 'principal')
    await seen(one.records, 'ACTIVE')
    await until('both see the same', () => {
      const [mine, theirs] = [one.records.certificate(fingerprint), other.records.certificate(fingerprint)]
      return mine !== undefined && JSON.stringify(mine) === JSON.stringify(theirs)
    })
    assert.deepEqual([...one.records.things()], [made])
  })
})
