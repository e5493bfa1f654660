import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { globSync, statSync } from 'node:fs'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, mock, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ensurePki } from '../../src/pki/ensure.ts'
import { issueDevice, issueServer } from '../../src/pki/issue.ts'
import { listCertificates } from '../../src/pki/list.ts'
import { hostNames } from '../../src/pki/names.ts'
import { revoke } from '../../src/pki/revoke.ts'
import { type Scope, temporaryFolder } from '../support/cleanup.ts'
import { run } from '../support/process.ts'
import { textOf, verify } from './openssl.ts'

const wrongUse = (message: RegExp) => ({ name: 'SluiceError', code: 'WRONG_USE', message })

async function newPki(scope: Scope): Promise<string> {
  const folder = join(await temporaryFolder(scope), 'pki')
  await ensurePki(folder)
  return folder
}

const read = async (file: string) => new X509Certificate(await readFile(file))

describe('a device’s certificate', () => {
  test('is for TLS clients, ten years, and its key for this user alone', async (context) => {
    const folder = await newPki(context)
    const { certificate, key = '', ca, serial, fingerprint } = await issueDevice(folder, { name: 'pump:7' })
    deepEqual([certificate, key], [join(folder, 'devices', 'pump_7.pem'), join(folder, 'devices', 'pump_7.key')])
    equal(statSync(key).mode & 0o777, 0o600)
    verify(ca, certificate, 'sslclient')
    const text = textOf(certificate)
    match(text, /Subject: CN = pump:7\n/)
    match(text, /Basic Constraints: critical\s+CA:FALSE/)
    match(text, /Key Usage: critical\s+Digital Signature\n/)
    match(text, /Extended Key Usage:\s+TLS Web Client Authentication\n/)
    match(text, /Subject Key Identifier:/)
    match(text, /NIST CURVE: P-256/)
    const keyIdentifier = (of: string, name: string) => new RegExp(`${name} Key Identifier:\\s+(\\S+)`).exec(of)?.[1]
    equal(keyIdentifier(text, 'Authority'), keyIdentifier(textOf(ca), 'Subject'))
    const made = await read(certificate)
    deepEqual(
      [made.serialNumber.toLowerCase(), made.fingerprint256.replaceAll(':', '').toLowerCase()],
      [serial, fingerprint],
    )
    match(serial, /^[1-9a-f][0-9a-f]{31}$/)
  })

  test('can have an RSA key, a subject of its own and an end of its own', async (context) => {
    const folder = await newPki(context)
    const subject = String.raw`CN=pump 7, O=Works\, Ltd,C=DE,L=Köln ,serialNumber=00-17`
    const { certificate, notAfter, ca } = await issueDevice(folder, { name: 'd', key: 'rsa', days: 5, subject })
    verify(ca, certificate, 'sslclient')
    const made = await read(certificate)
    equal(made.subject, 'CN=pump 7\nO=Works\\, Ltd\nC=DE\nL=Köln\nserialNumber=00-17')
    equal(made.publicKey.asymmetricKeyDetails?.modulusLength, 2048)
    equal(Math.round((notAfter.getTime() - Date.now()) / 86_400_000), 5)
  })

  for (const [subject, because] of [
    ['', /cannot be read from character 1/],
    ['pump', /cannot be read from character 1/],
    ['CN=a,', /cannot be read from character 6/],
    ['CN=a+O=b', /cannot be read from character 1/],
    ['CN="a"', /cannot be read from character 1/],
    ['CN=a,XY=b', /has no attribute XY here; there are: CN, O, /],
    ['CN=', /has an empty CN/],
    [`CN=${'x'.repeat(65)}`, /has a CN of more than 64 characters/],
    ['C=GER', /has a C of more than 2 characters/],
    ['C=1x', /has a C that is not a code of two letters/],
    ['serialNumber=ü', /has characters in serialNumber other than/],
    ['CN=a\u0000b', /has characters in CN that are not text/],
    ['CN=a\ud800', /has characters in CN that are not text/],
    [Array.from({ length: 17 }, () => 'OU=x').join(), /has more than 16 attributes/],
    ['x'.repeat(2001), /is longer than 2000/],
  ] as const)
    test(`is refused for the subject ${JSON.stringify(subject.slice(0, 30))}`, async (context) => {
      const folder = await temporaryFolder(context)
      await rejects(issueDevice(folder, { name: 'd', subject }), wrongUse(because))
      deepEqual(await readdir(folder), [])
    })

  test('is refused for other wrong use, and nothing is written', async (context) => {
    const folder = await newPki(context)
    for (const name of ['', '.', '..', 'a/b', '../x', 'a\\b', 'a\0', 'ü', 'x'.repeat(129)])
      await rejects(issueDevice(folder, { name }), wrongUse(/is not a device name here: use letters/))
    await rejects(issueDevice(folder, { name: 'x'.repeat(65) }), wrongUse(/longer than the 64 characters.*--subject/))
    for (const days of [0, -1, 1.5, Number.NaN])
      await rejects(issueDevice(folder, { name: 'd', days }), wrongUse(/whole number from 1/))
    await rejects(
      issueDevice(folder, { name: 'd', days: 3651 }),
      wrongUse(/the CA itself ends on .* at most 36(49|50) days/),
    )
    deepEqual((await readdir(join(folder, 'devices'))).toSorted(), ['demo.key', 'demo.pem'])
    equal((await listCertificates(folder)).length, 3)

    const nowhere = join(folder, 'nowhere')
    await rejects(issueDevice(nowhere, { name: 'd' }), wrongUse(/there is no CA in .*; "sluice pki init" makes one/))
    await rejects(listCertificates(nowhere), wrongUse(/"sluice pki init" makes one/))
  })

  test('with a long name needs a subject', async (context) => {
    const folder = await newPki(context)
    const name = 'n'.repeat(128)
    const { certificate, ca } = await issueDevice(folder, { name, subject: 'O=Works' })
    equal(certificate, join(folder, 'devices', `${name}.pem`))
    verify(ca, certificate, 'sslclient')
  })
})

describe('a name that is taken', () => {
  test('keeps its certificate until that is revoked or has ended', async (context) => {
    const folder = await newPki(context)
    const first = await issueDevice(folder, { name: 'd', days: 1 })
    await rejects(
      issueDevice(folder, { name: 'd' }),
      wrongUse(/d has a certificate already, .*revoke it first: sluice pki revoke/),
    )
    await revoke(folder, first.fingerprint)
    const second = await issueDevice(folder, { name: 'd', days: 1 })
    context.after(() => mock.timers.reset())
    mock.timers.enable({ apis: ['Date'], now: Date.now() + 86_400_000 * 2 })
    const third = await issueDevice(folder, { name: 'd' })
    mock.timers.reset()
    equal(new Set([first, second, third].map(({ fingerprint }) => fingerprint)).size, 3)
    const made = await read(third.certificate)
    equal(made.fingerprint256.replaceAll(':', '').toLowerCase(), third.fingerprint)
  })

  test('is not overwritten by one that shares its file name', async (context) => {
    const folder = await newPki(context)
    const { certificate, fingerprint } = await issueDevice(folder, { name: 'a:b' })
    const before = await readFile(certificate, 'utf8')
    const says = wrongUse(/a_b\.pem is the certificate of a:b, which shares a file name with a_b; choose another name/)
    await rejects(issueDevice(folder, { name: 'a_b' }), says)
    await revoke(folder, fingerprint)
    await rejects(issueDevice(folder, { name: 'a_b' }), says)
    equal(await readFile(certificate, 'utf8'), before)
  })

  test('leaves files alone that are somebody else’s', async (context) => {
    const folder = await newPki(context)
    const devices = join(folder, 'devices')
    await writeFile(join(devices, 'x.pem'), 'mine')
    await writeFile(join(devices, 'y.key'), 'mine')
    await rejects(
      issueDevice(folder, { name: 'x' }),
      wrongUse(/x\.pem is there, and was not issued here; move it away/),
    )
    await rejects(issueDevice(folder, { name: 'y' }), wrongUse(/y\.key is there without its certificate; delete it/))
    deepEqual(
      [await readFile(join(devices, 'x.pem'), 'utf8'), await readFile(join(devices, 'y.key'), 'utf8')],
      ['mine', 'mine'],
    )
  })

  test('is given to one of many that ask at once; different names all get theirs', async (context) => {
    const folder = await newPki(context)
    const same = await Promise.allSettled(Array.from({ length: 5 }, () => issueDevice(folder, { name: 'same' })))
    equal(same.filter(({ status }) => status === 'fulfilled').length, 1)
    const names = Array.from({ length: 20 }, (_, index) => `d-${index}`)
    await Promise.all(names.map((name) => issueDevice(folder, { name })))
    deepEqual(
      (await listCertificates(folder)).map(({ name }) => name).toSorted(),
      ['demo', 'same', 'server-ec', 'server-rsa', ...names].toSorted(),
    )
  })

  test('also where processes ask', async (context) => {
    const folder = await newPki(context)
    const script = fileURLToPath(new URL('dies.ts', import.meta.url))
    const issue = (name: string) =>
      run(context, process.execPath, [
        script,
        'before',
        '0',
        'issue',
        'issueDevice',
        JSON.stringify([folder, { name }]),
      ])
    const processes = ['same', 'same', 'other'].map(issue)
    const codes = await Promise.all(processes.map((one) => one.ended()))
    deepEqual([codes.filter((code) => code === 0).length, codes[2]], [2, 0])
    equal((await listCertificates(folder)).length, 5)
  })

  for (const [step, what] of [
    [1, 'the ledger'],
    [2, 'the key'],
    [3, 'the certificate'],
  ] as const)
    for (const when of ['before', 'after'] as const)
      test(`a process that is killed ${when} ${what} leaves no certificate outside the ledger`, async (context) => {
        const folder = await newPki(context)
        const script = fileURLToPath(new URL('dies.ts', import.meta.url))
        const parameters = JSON.stringify([folder, { name: 'd' }])
        await run(context, process.execPath, [script, when, `${step}`, 'issue', 'issueDevice', parameters]).ended()
        const known = new Set((await listCertificates(folder)).map(({ fingerprint }) => fingerprint))
        for (const file of globSync('devices/*.pem', { cwd: folder }))
          equal(known.has((await read(join(folder, file))).fingerprint256.replaceAll(':', '').toLowerCase()), true)

        const again = () => issueDevice(folder, { name: 'd' })
        const key = join(folder, 'devices', 'd.key')
        if (step === 3 && when === 'after') return rejects(again(), wrongUse(/has a certificate already/))
        if (step === 3 || (step === 2 && when === 'after')) {
          await rejects(again(), wrongUse(/d\.key is there without its certificate; delete it, and try again/))
          await rm(key)
        }
        const { certificate, ca } = await again()
        verify(ca, certificate, 'sslclient')
        deepEqual(globSync('**/*.tmp', { cwd: folder }), [])
      })
})

describe('a server’s certificate', () => {
  test('is for its name, or for what is said', async (context) => {
    const folder = await newPki(context)
    const { certificate, ca } = await issueServer(folder, { name: 'Broker.example.org' })
    verify(ca, certificate, 'sslserver')
    match(textOf(certificate), /Subject Alternative Name:\s+DNS:broker\.example\.org\n/)

    const hosts = hostNames(['*.example.org', 'my_box'], ['10.0.0.1', '::ffff:10.0.0.2', '2001:db8::1'])
    const other = await issueServer(folder, { name: 'b2', hosts, key: 'rsa' })
    verify(ca, other.certificate, 'sslserver')
    match(
      textOf(other.certificate),
      /DNS:\*\.example\.org, DNS:my_box, IP Address:10\.0\.0\.1, IP Address:0:0:0:0:0:FFFF:A00:2, IP Address:2001:DB8:0:0:0:0:0:1\n/,
    )
    match(textOf(other.certificate), /Key Usage: critical\s+Digital Signature, Key Encipherment\n/)
  })

  test('is refused for what is no host', async (context) => {
    const folder = await newPki(context)
    await rejects(issueServer(folder, { name: 'a:b' }), wrongUse(/a:b is not a DNS name; say .* --dns or --ip/))
    await rejects(issueServer(folder, { name: 'server-ec' }), wrongUse(/is Sluice's own; "sluice pki init"/))
    for (const [dns, ip, message] of [
      [['10.0.0.1'], [], /"10\.0\.0\.1" is not a DNS name: say it with --ip/],
      [['1.2.3'], [], /"1\.2\.3" is not a DNS name/],
      [['a..b'], [], /is not a DNS name/],
      [['bücher.example'], [], /a DNS name in ASCII is needed/],
      [['-a.example'], [], /is not a DNS name/],
      [[`${'a'.repeat(64)}.example`], [], /is not a DNS name/],
      [['a\0b'], [], /is not a DNS name/],
      [[], ['fe80::1%eth0'], /"fe80::1%eth0" is not an IP address/],
      [[], ['localhost'], /is not an IP address/],
      [Array.from({ length: 101 }, (_, index) => `h${index}`), [], /at most 100 names, not 101/],
    ] as const)
      await rejects(async () => issueServer(folder, { name: 's', hosts: hostNames(dns, ip) }), wrongUse(message))
  })
})
