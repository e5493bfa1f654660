import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { describe, it, mock, test } from 'node:test'
import * as fc from 'fast-check'
import type { Presented, Verdict } from '../../src/core/access.ts'
import type { Facts, Log } from '../../src/core/log.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { openStoreRecords } from '../../src/identity/store-records.ts'
import { x509 } from '../../src/identity/x509.ts'
import { section } from '../../src/identity/x509/authorities.ts'
import { fingerprintOf, maxCertificateBytes, readClientCertificate } from '../../src/identity/x509/certificate.ts'
import { authMethodConformance } from '../conformance/auth-method.ts'
import { authContext } from '../support/auth-context.ts'
import { suiteScope } from '../support/command.ts'
import { directoryOf } from '../support/directory.ts'
import { createMemoryQueues } from '../support/memory-queues.ts'
import { silent } from '../../src/core/log.ts'
import { caTrue, craft, type MadeCertificate, openMaker, type Part } from './x509-makers.ts'

const scope = suiteScope()
const maker = await openMaker(scope)

const ca = maker.authority('/CN=Fleet CA/O=Acme')
const sameSubject = maker.authority('/CN=Fleet CA/O=Acme')
const client = ['extendedKeyUsage=clientAuth', 'keyUsage=digitalSignature']
const device = ca.issue({ subject: '/CN=d-17/O=Acme', extensions: client })
const selfSigned = maker.selfSigned('/CN=alone', ['basicConstraints=critical,CA:FALSE'])

const tls = (certificate: Buffer, chain?: readonly Buffer[]): Presented => ({
  protocol: 'mqtt',
  clientId: 'c',
  tls: { certificate, ...(chain !== undefined && { chain }) },
})
const fingerprint = ({ der }: MadeCertificate) => fingerprintOf(der)
const proofs = (proof: unknown) => ({ x509: x509.proof.schema.parse(proof) })
const authority = (settings: object) =>
  section.schema.parse({ name: 'fleet', ...settings }) as { readonly name: string }
const directory = (principals: object, authorities: readonly { readonly name: string }[] = []) =>
  directoryOf({
    things: [{ name: 'd-17' }],
    principals: Object.entries(principals).map(([name, proof]) => ({ name, proofs: proofs(proof) })),
    sections: { certificateAuthorities: authorities },
  })

function recorder() {
  const lines: (Facts & { readonly message: string })[] = []
  const write = (facts: Facts, message: string) => void lines.push({ ...facts, message })
  const log: Log = { debug: write, info: write, warn: write, error: write, with: () => log }
  return {
    log,
    lines,
    problems: () => lines.map(({ problem }) => problem).filter((problem) => typeof problem === 'string'),
  }
}

/** The verdict about a certificate, and why it was refused. */
async function ask(
  certificate: Buffer,
  principals: object,
  authorities: readonly { readonly name: string }[] = [],
  more: Parameters<typeof authContext>[1] = {},
) {
  const { log, problems, lines } = recorder()
  const registry = createRegistry(directory(principals, authorities), more.records)
  const method = x509.open(authContext(registry, { log, ...more }))
  const verdict = await method.authenticate(tls(certificate))
  return { verdict, why: problems().join(), lines, method }
}

const isIn = (verdict: Verdict) => verdict.kind === 'principal'
const refused: Verdict = { kind: 'refused', reason: 'unknown or refused certificate' }

authMethodConformance({
  method: x509,
  registry: createRegistry(
    directoryOf({
      things: [{ name: 'd-17' }],
      principals: [
        { name: 'd-17', thing: 'd-17', proofs: proofs({ fingerprint: fingerprint(device) }) },
        { name: 'alone', proofs: proofs([{ certificate: selfSigned.pem }, { fingerprint: 'ab'.repeat(32) }]) },
        {
          name: 'off',
          proofs: proofs({ fingerprint: fingerprint(sameSubject.issue({ subject: '/CN=x' })), status: 'INACTIVE' }),
        },
      ],
    }),
  ),
  valid: [
    { presented: tls(device.der), principal: 'd-17' },
    { presented: { ...tls(device.der), protocol: 'http' }, principal: 'd-17' },
    { presented: tls(selfSigned.der), principal: 'alone' },
  ],
  wrong: {
    'an unknown certificate': tls(ca.issue({ subject: '/CN=d-17/O=Acme' }).der),
    'a known certificate with a changed bit': tls(flip(device.der, device.der.length - 5)),
    'no certificate at all in its place': tls(Buffer.alloc(0)),
    'a certificate in PEM': tls(Buffer.from(device.pem)),
    'a certificate and something behind it': tls(Buffer.concat([device.der, Buffer.from([0])])),
    'the certificate of an authority': tls(ca.der),
    'too much': tls(Buffer.alloc(maxCertificateBytes + 1, 0x30)),
  },
  absent: {
    'a connection without TLS': { protocol: 'mqtt', clientId: 'd-17', username: 'd-17' },
    'a connection without a certificate': { protocol: 'mqtt', tls: { serverName: 'x' } },
  },
  // A certificate is public. What it says about its device belongs into no log all the same.
  secrets: [device.pem.slice(100, 160), device.der.toString('base64').slice(0, 40)],
  proofs: {
    good: [
      { fingerprint: 'AB'.repeat(32) },
      { fingerprint: Array.from({ length: 32 }, () => 'aB').join(':'), status: 'REVOKED' },
      { certificate: selfSigned.pem },
      [{ fingerprint: 'ab'.repeat(32) }, { certificate: 'device.pem', status: 'INACTIVE' }],
    ],
    bad: [
      {},
      [],
      'ab'.repeat(32),
      { fingerprint: 'ab' },
      { fingerprint: 'ab'.repeat(32), status: 'PENDING_ACTIVATION' },
      { fingerprint: 'ab'.repeat(32), certificate: 'x' },
      { fingerprint: 12 },
    ],
  },
})

function flip(der: Buffer, at: number): Buffer {
  const copy = Buffer.from(der)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}

describe('x509: a certificate in the files', () => {
  it('gives the principal, its id, what the certificate says, and when it ends', async () => {
    const { verdict } = await ask(device.der, { 'd-17': { fingerprint: fingerprint(device) } })
    const { serialNumber, validToDate } = new X509Certificate(device.der)
    assert.deepEqual(verdict, {
      kind: 'principal',
      principal: {
        name: 'd-17',
        method: 'x509',
        id: fingerprint(device),
        certificate: {
          certificateId: fingerprint(device),
          serialNumber,
          subject: { CommonName: ['d-17'], Organization: ['Acme'] },
          issuer: { CommonName: ['Fleet CA'], Organization: ['Acme'] },
        },
        until: validToDate.getTime(),
      },
    })
  })

  it('comes in only while it is ACTIVE', async () => {
    for (const [status, expected] of [
      ['ACTIVE', true],
      ['INACTIVE', false],
      ['REVOKED', false],
    ] as const) {
      const { verdict, why } = await ask(device.der, { 'd-17': { fingerprint: fingerprint(device), status } })
      assert.equal(isIn(verdict), expected, status)
      if (!expected) assert.equal(why, `it is ${status}`)
    }
  })

  it('may be one of two, for the time of a change', async () => {
    const next = ca.issue({ subject: '/CN=d-17' })
    const both = { 'd-17': [{ certificate: device.pem }, { certificate: next.pem, status: 'ACTIVE' }] }
    assert.ok(isIn((await ask(device.der, both)).verdict))
    assert.ok(isIn((await ask(next.der, both)).verdict))
  })

  it('proves nobody when two principals have it', async () => {
    const shared = { certificate: device.pem }
    assert.deepEqual((await ask(device.der, { a: shared, b: shared })).verdict, refused)
  })

  it('is refused before and after its time', async () => {
    const registered = { a: { fingerprint: fingerprint(device) } }
    const { validFromDate, validToDate } = new X509Certificate(device.der)
    const at = async (time: number) => (await ask(device.der, registered, [], { now: () => time })).why
    assert.equal(await at(validFromDate.getTime() - 1), 'it is not valid yet')
    assert.equal(await at(validFromDate.getTime()), '')
    assert.equal(await at(validToDate.getTime()), '')
    assert.equal(await at(validToDate.getTime() + 1), 'it has expired')
    const late = ca.issue({ subject: '/CN=late', days: -1 })
    assert.equal((await ask(late.der, { a: { certificate: late.pem } })).why, 'it has expired')
  })

  it('may have expired where its authority says so, and has no end then; never before its time', async () => {
    const late = ca.issue({ subject: '/CN=late' })
    const notAfter = new X509Certificate(late.der).validToDate.getTime()
    const accepting = [authority({ certificate: ca.pem, expired: 'accept' })]
    const at = (time: number, authorities = accepting) =>
      ask(late.der, { a: { certificate: late.pem } }, authorities, { now: () => time })
    const { verdict } = await at(notAfter + 1_000)
    assert.ok(verdict.kind === 'principal' && verdict.principal.until === undefined)
    assert.deepEqual((await at(0)).verdict, refused)
    assert.deepEqual(
      (await at(notAfter + 1_000, [authority({ certificate: sameSubject.pem, expired: 'accept' })])).verdict,
      refused,
    )
  })

  it('is refused when it is on the CRL of its authority, whatever the files say', async () => {
    const registered = { a: { certificate: device.pem } }
    const other = ca.issue({ subject: '/CN=other' })
    const crl = ca.crl([device])
    const revoking = [authority({ certificate: ca.pem, crl })]
    assert.equal((await ask(device.der, registered, revoking)).why, 'it is on the CRL of fleet')
    assert.ok(isIn((await ask(other.der, { a: { certificate: other.pem } }, revoking)).verdict))
    assert.ok(
      isIn((await ask(device.der, registered, [authority({ certificate: ca.pem, crl: ca.crl([other]) })])).verdict),
    )
    // INACTIVE takes no new ones; what it has revoked stays revoked.
    const inactive = [authority({ certificate: ca.pem, crl, status: 'INACTIVE' })]
    assert.deepEqual((await ask(device.der, registered, inactive)).verdict, refused)
    // A serial number means something beside its issuer only.
    assert.ok(isIn((await ask(selfSigned.der, { a: { certificate: selfSigned.pem } }, revoking)).verdict))
  })

  it('uses a CRL that is out of date, and says so', async () => {
    const crl = ca.crl([device])
    const { verdict, lines } = await ask(
      device.der,
      { a: { certificate: device.pem } },
      [authority({ certificate: ca.pem, crl })],
      { now: () => Date.now() + 1.5 * 86_400_000 },
    )
    assert.deepEqual(verdict, refused)
    assert.ok(lines.some(({ message }) => message.includes('out of date')))
  })

  it('does not take the CRL of another authority with the same subject', async () => {
    assert.deepEqual(section.examine?.(authority({ certificate: ca.pem, crl: sameSubject.crl([device]) })), [
      { path: 'crl', message: 'its signature is not of this authority' },
    ])
    const other = maker.authority('/CN=Other')
    assert.deepEqual(section.examine?.(authority({ certificate: ca.pem, crl: other.crl([]) })), [
      { path: 'crl', message: 'another authority has issued it' },
    ])
    assert.throws(
      () =>
        x509.open(authContext(createRegistry(directory({}, [authority({ certificate: ca.pem, crl: other.crl([]) })])))),
      /certificate authority "fleet": crl/,
    )
  })
})

describe('x509: what a certificate must be', () => {
  const rsa = (bits: number) => ['rsa', '-pkeyopt', `rsa_keygen_bits:${bits}`]
  const curve = (name: string) => ['ec', '-pkeyopt', `ec_paramgen_curve:${name}`]
  const cases: Record<string, [MadeCertificate | Buffer, RegExp | undefined]> = {
    'RSA of 2048 bits': [ca.issue({ subject: '/CN=x', newKey: rsa(2048) }), undefined],
    'RSA of 1024 bits': [ca.issue({ subject: '/CN=x', newKey: rsa(1024) }), /1024 bits/],
    'P-384': [ca.issue({ subject: '/CN=x', newKey: curve('secp384r1') }), undefined],
    'P-521': [ca.issue({ subject: '/CN=x', newKey: curve('secp521r1') }), undefined],
    secp256k1: [ca.issue({ subject: '/CN=x', newKey: curve('secp256k1') }), /curve secp256k1/],
    Ed25519: [ca.issue({ subject: '/CN=x', newKey: ['ed25519'] }), undefined],
    'signed with SHA-1': [ca.issue({ subject: '/CN=x', digest: 'sha1' }), /SHA1/i],
    'signed with SHA-512': [ca.issue({ subject: '/CN=x', digest: 'sha512' }), undefined],
    'for servers only': [ca.issue({ subject: '/CN=x', extensions: ['extendedKeyUsage=serverAuth'] }), /clientAuth/],
    'for servers and clients': [
      ca.issue({ subject: '/CN=x', extensions: ['extendedKeyUsage=serverAuth,clientAuth'] }),
      undefined,
    ],
    'for any purpose': [
      ca.issue({ subject: '/CN=x', extensions: ['extendedKeyUsage=anyExtendedKeyUsage'] }),
      /clientAuth/,
    ],
    'for encryption only': [
      ca.issue({ subject: '/CN=x', extensions: ['keyUsage=keyEncipherment'] }),
      /digitalSignature/,
    ],
    'of an authority': [ca.issue({ subject: '/CN=x', extensions: ['basicConstraints=CA:TRUE'] }), /CA:TRUE/],
    'of an authority that may sign no certificates': [
      ca.issue({ subject: '/CN=x', extensions: ['basicConstraints=CA:TRUE', 'keyUsage=digitalSignature'] }),
      /CA:TRUE/,
    ],
    'with a critical extension that nobody knows': [
      ca.issue({ subject: '/CN=x', extensions: ['1.2.3.4=critical,ASN1:UTF8String:x'] }),
      /critical extension 1\.2\.3\.4/,
    ],
    'with an extension that nobody knows': [
      ca.issue({ subject: '/CN=x', extensions: ['1.2.3.4=ASN1:UTF8String:x'] }),
      undefined,
    ],
    'with an extension twice': [
      craft({
        subject: [],
        extensions: [
          { id: '1.2.3.4', value: caTrue },
          { id: '1.2.3.4', value: caTrue },
        ],
      }),
      /twice/,
    ],
    'with an extension of the wrong type': [
      craft({ subject: [], extensions: [{ id: '2.5.29.19', value: Buffer.from([0x0c, 1, 0x78]) }] }),
      /cannot be read/,
    ],
  }
  for (const [title, [made, problem]] of Object.entries(cases)) {
    it(`${problem === undefined ? 'takes' : 'refuses'} one ${title}`, async () => {
      const der = 'der' in made ? made.der : made
      const { verdict, why } = await ask(der, { a: { fingerprint: fingerprintOf(der) } })
      assert.equal(isIn(verdict), problem === undefined, why)
      if (problem !== undefined) assert.match(why, problem)
    })
  }
})

describe('x509: what a certificate says', () => {
  const cn = '2.5.4.3'
  const facts = (subject: readonly (readonly Part[])[]) => {
    const read = readClientCertificate(craft({ subject, authority: ca }))
    return 'problem' in read ? read.problem : read.facts.subject
  }

  const problemIn = (subject: readonly (readonly Part[])[]) => {
    const read = readClientCertificate(craft({ subject, authority: ca }))
    return 'problem' in read ? read.problem : ''
  }

  it('gives every attribute that policies know, in order, also of multi-valued RDNs and with commas', () => {
    assert.deepEqual(
      facts([
        [['2.5.4.6', 'printableString', 'DE']],
        [[cn, 'utf8String', 'first, "one"+CN=evil\nCN=worse']],
        [
          [cn, 'utf8String', 'zweiter Köln 🦄'],
          ['2.5.4.11', 'bmpString', 'Grün'],
        ],
        [['2.5.4.11', 'teletexString', 'second']],
        [['2.5.4.11', 'universalString', 'third']],
        [['1.2.840.113549.1.9.1', 'ia5String', 'a@b.c']],
        [['2.5.4.46', 'printableString', 'q']],
        [['2.5.4.8', 'utf8String', 'st']],
        [['2.5.4.5', 'printableString', '0007']],
        [['2.5.4.12', 'utf8String', 't']],
        [['2.5.4.4', 'utf8String', 's']],
        [['2.5.4.42', 'utf8String', 'g']],
        [['2.5.4.43', 'utf8String', 'i']],
        [['2.5.4.65', 'utf8String', 'p']],
        [['2.5.4.44', 'utf8String', 'III']],
      ]),
      {
        Country: ['DE'],
        CommonName: ['first, "one"+CN=evil\nCN=worse', 'zweiter Köln 🦄'],
        OrganizationalUnit: ['Grün', 'second', 'third'],
        DistinguishedNameQualifier: ['q'],
        State: ['st'],
        SerialNumber: ['0007'],
        Title: ['t'],
        Surname: ['s'],
        GivenName: ['g'],
        Initials: ['i'],
        Pseudonym: ['p'],
        GenerationQualifier: ['III'],
      },
    )
  })

  it('refuses values that could be read in two ways', () => {
    const raw = (...bytes: readonly number[]) => problemIn([[[cn, 'raw', Buffer.from(bytes)]]])
    const unclear = /^(?:a name is ambiguous|a name has half a character|CommonName is not text|it cannot be read)$/
    assert.deepEqual(facts([[[cn, 'raw', Buffer.from([0x0c, 1, 0x41])]]]), { CommonName: ['A'] })
    assert.match(raw(0x0c, 2, 0xff, 0xfe), unclear) // no UTF-8
    assert.match(raw(0x0c, 2, 0xc0, 0xaf), unclear) // an overlong slash
    assert.match(raw(0x1c, 4, 0, 1, 0, 0x41), unclear) // U+10041, which would be cut to "A"
    assert.match(raw(0x1e, 2, 0xd8, 0), unclear) // half a surrogate pair
    assert.match(raw(0x02, 1, 5), unclear) // a number
  })

  it('gives the kinds of alternative names', () => {
    const { der } = ca.issue({
      subject: '/CN=x',
      extensions: [
        'subjectAltName=DNS:a.b,DNS:c.d,IP:192.0.2.1,IP:2001:db8::1,URI:urn:x:y,email:a@b.c,dirName:dn,RID:1.2.3.4',
        'issuerAltName=DNS:issuer',
        '[dn]',
        'C=DE',
        'CN=a\\, b',
      ],
    })
    const read = readClientCertificate(der)
    assert.ok(!('problem' in read), JSON.stringify(read))
    assert.deepEqual(read.facts.subject?.['alternativeName'], {
      DNSName: ['a.b', 'c.d'],
      IPAddress: ['192.0.2.1', '2001:db8::1'],
      UniformResourceIdentifier: ['urn:x:y'],
      RFC822Name: ['a@b.c'],
      DirectoryName: [String.raw`CN=a\, b,C=DE`],
    })
    assert.deepEqual(read.facts.issuer?.['alternativeName'], { DNSName: ['issuer'] })
  })

  it('reads a certificate without any name', () => {
    assert.deepEqual(facts([]), {})
  })
})

describe('x509: speed and renewing', () => {
  it('verifies a signature once, also when it is asked again after a reload', async () => {
    const verify = mock.method(X509Certificate.prototype, 'verify')
    try {
      const authorities = [authority({ certificate: ca.pem, crl: ca.crl([]) })]
      const context = authContext(createRegistry(directory({ a: { certificate: device.pem } }, authorities)))
      const method = x509.open(context)
      const verdict = await method.authenticate(tls(device.der))
      assert.equal(verify.mock.callCount(), 1)
      for (let times = 0; times < 5; times += 1) await method.authenticate(tls(device.der))
      assert.ok(verdict.kind === 'principal')
      assert.deepEqual(await x509.open(context).renew?.(tls(device.der), verdict.principal), verdict)
      assert.equal(verify.mock.callCount(), 1)
    } finally {
      verify.mock.restore()
    }
  })

  it('looks at status, CRL and time again', async () => {
    const context = authContext(createRegistry(directory({ a: { certificate: device.pem } })))
    const verdict = await x509.open(context).authenticate(tls(device.der))
    assert.ok(verdict.kind === 'principal')
    const renew = (registry: ReturnType<typeof createRegistry>, now = Date.now) =>
      x509.open({ ...context, registry, now }).renew?.(tls(device.der), verdict.principal)
    const withCrl = [authority({ certificate: ca.pem, crl: ca.crl([device]) })]
    assert.deepEqual(
      await renew(createRegistry(directory({ a: { certificate: device.pem, status: 'INACTIVE' } }))),
      refused,
    )
    assert.deepEqual(await renew(createRegistry(directory({ a: { certificate: device.pem } }, withCrl))), refused)
    assert.deepEqual(await renew(context.registry, () => Date.now() + 3 * 86_400_000), refused)
    assert.deepEqual(await renew(context.registry), verdict)
  })
})

describe('x509: bytes of strangers', () => {
  const subjects = [device, selfSigned, ca.issue({ subject: '/CN=x', extensions: ['subjectAltName=DNS:a,IP:1.2.3.4'] })]
  const principals = Object.fromEntries(subjects.map(({ pem }, index) => [`p${index}`, { certificate: pem }]))

  it('lets nobody in but with the very bytes, and never throws', async () => {
    const queues = createMemoryQueues()
    const records = await openStoreRecords({ store: queues.store, log: silent })
    scope.after(() => records.close())
    const authorities = [authority({ certificate: ca.pem, register: 'pending' })]
    const context = authContext(createRegistry(directory(principals, authorities), records), { records })
    const { authenticate } = x509.open(context)
    const mutation = fc.record({
      at: fc.nat(2_000),
      bytes: fc.uint8Array({ minLength: 0, maxLength: 6 }),
      remove: fc.nat(6),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...subjects),
        fc.array(mutation, { minLength: 1, maxLength: 4 }),
        async ({ der }, mutations) => {
          let mutated = der
          for (const { at, bytes, remove } of mutations) {
            const place = at % (mutated.length + 1)
            mutated = Buffer.concat([mutated.subarray(0, place), bytes, mutated.subarray(place + remove)])
          }
          const verdict = await authenticate(tls(mutated, [mutated, ca.der, der]))
          assert.equal(
            isIn(verdict),
            subjects.some((subject) => subject.der.equals(mutated)),
          )
        },
      ),
      { numRuns: 3_000 },
    )
    // A changed certificate is of no authority, so nothing was registered either.
    assert.deepEqual([...records.certificates()], [])
  })

  it('lets nobody in with one bit changed, whichever', async () => {
    const { authenticate } = x509.open(authContext(createRegistry(directory(principals))))
    for (let bit = 0; bit < device.der.length * 8; bit += 1) {
      const changed = Buffer.from(device.der)
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      assert.deepEqual(await authenticate(tls(changed)), refused)
    }
    assert.ok(isIn(await authenticate(tls(device.der))))
  })

  it('never throws for any other bytes', async () => {
    const { authenticate } = x509.open(authContext(createRegistry(directory(principals))))
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async (bytes) => {
        assert.equal((await authenticate(tls(Buffer.from(bytes)))).kind, 'refused')
      }),
    )
  })
})

test('what a real TLS handshake shows is what is judged', async (t) => {
  const root = maker.authority('/CN=Root')
  const server = root.issue({ subject: '/CN=localhost', extensions: ['subjectAltName=DNS:localhost'] })
  const line = root.below('/CN=Line 1')
  const shown = line.issue({ subject: '/CN=d-18', extensions: client })
  const listening = createTlsServer({
    key: server.key,
    cert: server.pem,
    requestCert: true,
    rejectUnauthorized: false,
  })
  t.after(() => listening.close())
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
  const address = listening.address()
  assert.ok(address !== null && typeof address === 'object')
  const secured = new Promise<TLSSocket>((resolve) => listening.once('secureConnection', resolve))
  const socket = connectTls({
    port: address.port,
    key: shown.key,
    cert: shown.pem + line.pem,
    rejectUnauthorized: false,
  })
  t.after(() => socket.destroy())
  const peer = await secured
  const certificate = peer.getPeerX509Certificate()
  assert.ok(certificate !== undefined)
  const queues = createMemoryQueues()
  const records = await openStoreRecords({ store: queues.store, log: silent })
  t.after(() => records.close())
  const chain = peer.getPeerCertificate(true).issuerCertificate
  const authorities = [authority({ certificate: root.pem, register: 'pending' })]
  const { method } = await ask(device.der, {}, authorities, { records })
  assert.deepEqual(await method.authenticate(tls(certificate.raw, [chain.raw])), refused)
  assert.equal(records.certificate(fingerprint(shown))?.status, 'PENDING_ACTIVATION')
})
