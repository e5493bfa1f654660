import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import fc from 'fast-check'
import { SluiceError } from '../../src/core/errors.ts'
import { ensurePki } from '../../src/pki/ensure.ts'
import { signCsr } from '../../src/pki/issue.ts'
import { listCertificates } from '../../src/pki/list.ts'
import { maxRequestBytes, readRequest } from '../../src/pki/request.ts'
import { temporaryFolder } from '../support/cleanup.ts'
import { suiteScope } from '../support/command.ts'
import { ecKey, openssl, request, rsaKey, textOf, verify } from './openssl.ts'

const wrongUse = (message: RegExp) => ({ name: 'SluiceError', code: 'WRONG_USE', message })

const derOf = (pem: string) => Buffer.from(pem.replaceAll(/-----[A-Z ]+-----/g, ''), 'base64')
const pemOf = (der: Uint8Array) =>
  `-----BEGIN CERTIFICATE REQUEST-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`

const curve = (name: string) => ['ec', '-pkeyopt', `ec_paramgen_curve:${name}`]

describe('a request is signed', () => {
  const scope = suiteScope()
  let folder = ''
  before(async () => {
    folder = join(await temporaryFolder(scope), 'pki')
    await ensurePki(folder)
  })

  for (const [what, key] of [
    ['rsa', rsaKey],
    ['rsa4096', ['rsa:4096']],
    ['p256', ecKey],
    ['p384', curve('secp384r1')],
    ['p521', curve('secp521r1')],
  ] as const)
    test(`of the kind ${what}, with its own key and no other file`, async () => {
      const pem = request(key, `/CN=${what}/O=Works, Ltd/C=DE`)
      const issued = await signCsr(folder, { request: pem })
      deepEqual([issued.name, issued.key, issued.subject], [what, undefined, String.raw`CN=${what},O=Works\, Ltd,C=DE`])
      verify(issued.ca, issued.certificate, 'sslclient')
      const file = join(await temporaryFolder(scope), 'csr')
      await writeFile(file, pem)
      equal(
        openssl('x509', '-in', issued.certificate, '-noout', '-pubkey'),
        openssl('req', '-in', file, '-noout', '-pubkey'),
      )
      ok(!(await readdir(join(folder, 'devices'))).includes(`${what}.key`))
    })

  test('without what it asks for but its subject and alternative names', async () => {
    const asks = [
      'basicConstraints=critical,CA:TRUE',
      'keyUsage=critical,keyCertSign,cRLSign',
      'extendedKeyUsage=serverAuth,codeSigning',
      'subjectKeyIdentifier=00112233',
      'subjectAltName=DNS:D.example.org,IP:10.0.0.1,IP:::1,email:a@example.org,URI:urn:x:1',
    ].flatMap((extension) => ['-addext', extension])
    const { certificate, ca } = await signCsr(folder, { request: request(ecKey, '/CN=greedy', asks), days: 3 })
    verify(ca, certificate, 'sslclient')
    const text = textOf(certificate)
    match(text, /Basic Constraints: critical\s+CA:FALSE\n/)
    match(text, /Key Usage: critical\s+Digital Signature\n/)
    match(text, /Extended Key Usage:\s+TLS Web Client Authentication\n/)
    match(
      text,
      /DNS:d\.example\.org, IP Address:10\.0\.0\.1, IP Address:0:0:0:0:0:0:0:1, email:a@example\.org, URI:urn:x:1\n/,
    )
    ok(!text.includes('00:11:22:33'))
    equal(text.match(/X509v3 Basic Constraints/g)?.length, 1)
  })

  test('under the name that is said', async () => {
    const pem = request(ecKey, '/CN=with space')
    await rejects(signCsr(folder, { request: pem }), wrongUse(/"with space" is not a device name here/))
    const { certificate } = await signCsr(folder, { request: pem, name: 'a:name' })
    equal(new X509Certificate(await readFile(certificate)).subject, 'CN=with space')
    await rejects(signCsr(folder, { request: pem, name: '../up' }), wrongUse(/is not a device name here/))
    await rejects(signCsr(folder, { request: pem, name: 'demo' }), wrongUse(/demo has a certificate already/))
    const empty = request(ecKey, '/')
    await rejects(signCsr(folder, { request: empty }), wrongUse(/no single common name; say --name/))
    equal((await signCsr(folder, { request: empty, name: 'empty' })).subject, 'CN=empty')
    equal((await signCsr(folder, { request: request(ecKey, '/CN=Zähler é 水'), name: 'u' })).subject, 'CN=Zähler é 水')
  })

  test('twice, to different certificates', async () => {
    const pem = request(ecKey, '/CN=twice')
    const one = await signCsr(folder, { request: pem })
    const other = await signCsr(folder, { request: Buffer.from(pem), name: 'again' })
    ok(one.serial !== other.serial && one.fingerprint !== other.fingerprint)
  })

  test('in the other spelling of its block, with text around it', async () => {
    const pem = request(ecKey, '/CN=x').replaceAll('CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST')
    deepEqual((await readRequest(`Subject: x\r\n${pem.replaceAll('\n', '\r\n')}`)).subject, [
      { type: '2.5.4.3', value: 'x' },
    ])
  })

  test('or refused, and then nothing is written', async () => {
    const before = [await readdir(join(folder, 'devices')), (await listCertificates(folder)).length]
    const pem = request(ecKey, '/CN=refused')
    const changed = (at: number) => {
      const der = derOf(pem)
      der[at < 0 ? der.length + at : at]! ^= 1
      return pemOf(der)
    }
    const subjectAt = derOf(pem).indexOf('refused')
    for (const [what, text, because] of [
      ['signature', changed(-1), /its signature is not that of its own key/],
      ['subject', changed(subjectAt), /its signature is not that of its own key/],
      ['RSA 1024', request(['rsa:1024'], '/CN=x'), /its RSA key has 1024 bits; use 2048 or more/],
      ['secp256k1', request(curve('secp256k1'), '/CN=x'), /its curve is secp256k1; use P-256, P-384 or P-521/],
      ['Ed25519', request(['ed25519'], '/CN=x'), /its key is of the kind ed25519; use RSA or P-256/],
      ['SHA-1', request(rsaKey, '/CN=x', ['-sha1']), /not signed with SHA-256, SHA-384 or SHA-512/],
      ['SHA-1 of EC', request(ecKey, '/CN=x', ['-sha1']), /not signed with SHA-256, SHA-384 or SHA-512/],
      ['levels', request(ecKey, '/CN=x+O=y'), /several attributes in one level/],
      ['unknown type', request(ecKey, '/CN=x/UID=y'), /an attribute of the type 0\.9\.2342\.\S+, which is not copied/],
      [
        'long',
        request(ecKey, `/CN=x/L=${'x'.repeat(128)}/ST=x/O=${'x'.repeat(64)}/SN=${'x'.repeat(65)}`, []),
        /more than 64/,
      ],
      ['control', request(ecKey, '/CN=a\u0007b'), /characters in CN that are not text/],
      ['#', request(ecKey, '/CN=#1'), /starts with "#"/],
      [
        'directory name',
        request(ecKey, '/CN=x', ['-addext', 'subjectAltName=RID:1.2.3']),
        /an alternative name that is no/,
      ],
      ['host', request(ecKey, '/CN=x', ['-addext', 'subjectAltName=DNS:a b']), /an alternative name that is no/],
      ['nothing', '', /0 blocks of "-----BEGIN CERTIFICATE REQUEST-----"/],
      ['two', pem + pem, /2 blocks/],
      [
        'a key beside it',
        `${pem}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n`,
        /a private key stands with it/,
      ],
      ['size', pem + ' '.repeat(maxRequestBytes), /larger than 64 KiB/],
      ['no DER', pemOf(Buffer.from('nonsense')), /cannot be read/],
      ['empty', pemOf(Buffer.alloc(0)), /cannot be read/],
    ] as const)
      await rejects(signCsr(folder, { request: text }), wrongUse(because), what)
    deepEqual([await readdir(join(folder, 'devices')), (await listCertificates(folder)).length], before)
  })
})

describe('whatever is read for a request', { concurrency: 1 }, () => {
  /** What was read, or undefined where it was refused; anything else is a defect. */
  async function read(text: string | Uint8Array): Promise<unknown> {
    return readRequest(text).then(
      ({ publicKey, ...rest }) => ({ ...rest, key: publicKey.export({ type: 'spki', format: 'pem' }) }),
      (error: unknown) => {
        if (error instanceof SluiceError && error.code === 'WRONG_USE') return undefined
        throw error
      },
    )
  }

  const der = derOf(request(ecKey, '/CN=x/O=y', ['-addext', 'subjectAltName=DNS:a.example,IP:10.0.0.1']))

  /** The wrapping around what is signed may be spelled in another way; what is signed may not. */
  async function requireSameOrRefused(changed: Uint8Array): Promise<void> {
    const found = await read(pemOf(changed))
    if (found !== undefined) deepEqual(found, await read(pemOf(der)))
  }

  test('a request with any bytes changed is refused, or says what it said', async () => {
    const change = fc.tuple(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }))
    const changes = fc.uniqueArray(change, { minLength: 1, maxLength: 4, selector: ([at]) => at })
    await fc.assert(
      fc.asyncProperty(changes, async (all) => {
        const changed = Buffer.from(der)
        for (const [at, bits] of all) changed[at]! ^= bits
        await requireSameOrRefused(changed)
      }),
      { numRuns: 5000 },
    )
  })

  test('so is one with bytes cut out, put in or repeated', async () => {
    const piece = fc.tuple(fc.nat(der.length), fc.nat(40), fc.uint8Array({ maxLength: 40 }))
    await fc.assert(
      fc.asyncProperty(piece, ([at, cut, put]) =>
        requireSameOrRefused(Buffer.concat([der.subarray(0, at), put, der.subarray(at + cut)])),
      ),
      { numRuns: 3000 },
    )
  })

  test('any text is refused', async () => {
    const words = fc.constantFrom(
      '-----BEGIN CERTIFICATE REQUEST-----',
      '-----END CERTIFICATE REQUEST-----',
      '\n',
      'MIIB',
      '=',
    )
    const text = fc
      .array(fc.oneof(words, fc.string({ unit: 'binary' })), { maxLength: 12 })
      .map((parts) => parts.join(''))
    await fc.assert(
      fc.asyncProperty(text, async (one) => equal(await read(one), undefined)),
      { numRuns: 2000 },
    )
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        equal(await read(bytes), undefined)
        equal(await read(pemOf(bytes)), undefined)
      }),
      { numRuns: 2000 },
    )
  })
})
