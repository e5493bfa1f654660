import { deepEqual, equal, match, notEqual, rejects } from 'node:assert/strict'
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { existsSync, globSync, readFileSync, statSync } from 'node:fs'
import { chmod, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describe, mock, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ensurePki } from '../../src/pki/ensure.ts'
import { issueDevice, issueServer } from '../../src/pki/issue.ts'
import { withLock } from '../../src/pki/lock.ts'
import { revoke } from '../../src/pki/revoke.ts'
import { type Scope, temporaryFolder } from '../support/cleanup.ts'
import { run } from '../support/process.ts'
import { openssl, textOf, verify } from './openssl.ts'

const day = 86_400_000
const dies = fileURLToPath(new URL('dies.ts', import.meta.url))

const wrongUse = (message: RegExp) => ({ name: 'SluiceError', code: 'WRONG_USE', message })

const newFolder = async (scope: Scope) => join(await temporaryFolder(scope), 'data', 'pki')

/** Everything about a complete folder that openssl can say. */
function requireWhole(folder: string): void {
  const ca = join(folder, 'ca.pem')
  for (const name of ['server-ec', 'server-rsa']) verify(ca, join(folder, `${name}.pem`), 'sslserver')
  verify(ca, join(folder, 'devices', 'demo.pem'), 'sslclient')
  match(openssl('crl', '-in', join(folder, 'crl.pem'), '-CAfile', ca, '-noout', '-text'), /No Revoked Certificates/)
  for (const name of ['ca', 'server-ec', 'server-rsa', 'devices/demo']) {
    const certificate = new X509Certificate(readFileSync(join(folder, `${name}.pem`)))
    equal(certificate.checkPrivateKey(createPrivateKey(readFileSync(join(folder, `${name}.key`)))), true, name)
  }
  const ledger = JSON.parse(readFileSync(join(folder, 'ledger.json'), 'utf8')) as Record<string, unknown[]>
  deepEqual(
    ledger['certificates']?.map((entry) => (entry as { name: string }).name),
    ['server-ec', 'server-rsa', 'demo'],
  )
  equal(ledger['settingUp'], undefined)
  deepEqual(globSync('**/*.tmp', { cwd: folder }), [])
}

const contents = async (folder: string) => {
  const names = globSync(['*.pem', '*.key', '*.json', '*/*'], { cwd: folder }).toSorted()
  return Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), 'utf8')]))
}

describe('the first run', () => {
  test('makes what openssl takes, for this user alone', async (context) => {
    const folder = await newFolder(context)
    const { created, made, demo, attention } = await ensurePki(folder, {
      hostNames: ['Broker.Example.org', '10.1.2.3'],
    })
    deepEqual([created, made, attention], [true, ['ca', 'server-ec', 'server-rsa', 'crl', 'demo'], []])
    requireWhole(folder)

    equal(statSync(folder).mode & 0o777, 0o700)
    equal(statSync(join(folder, 'devices')).mode & 0o777, 0o700)
    for (const key of globSync('**/*.key', { cwd: folder })) equal(statSync(join(folder, key)).mode & 0o777, 0o600, key)
    equal(statSync(join(folder, 'ledger.json')).mode & 0o777, 0o600)

    const certificate = new X509Certificate(await readFile(join(folder, 'devices', 'demo.pem')))
    equal(demo?.fingerprint, certificate.fingerprint256.replaceAll(':', '').toLowerCase())
    equal(certificate.subject, 'CN=demo')
  })

  test('the CA signs certificates and CRLs for ten years, and no other CA', async (context) => {
    const folder = await newFolder(context)
    await ensurePki(folder)
    const text = textOf(join(folder, 'ca.pem'))
    match(text, /Basic Constraints: critical\s+CA:TRUE, pathlen:0/)
    match(text, /Key Usage: critical\s+Certificate Sign, CRL Sign\n/)
    match(text, /Subject Key Identifier/)
    match(text, /NIST CURVE: P-256/)
    const { validToDate, serialNumber } = new X509Certificate(await readFile(join(folder, 'ca.pem')))
    equal(Math.round((validToDate.getTime() - Date.now()) / day), 3650)
    equal(serialNumber.length, 32)
  })

  test('servers are for this machine and the names that are asked for, 397 days', async (context) => {
    const folder = await newFolder(context)
    await ensurePki(folder, { hostNames: ['Broker.Example.org', '2001:DB8::0:7'] })
    for (const [name, usage] of [
      ['server-ec', /Key Usage: critical\s+Digital Signature\n/],
      ['server-rsa', /Key Usage: critical\s+Digital Signature, Key Encipherment\n/],
    ] as const) {
      const file = join(folder, `${name}.pem`)
      const text = textOf(file)
      match(text, usage)
      match(text, /Extended Key Usage:\s+TLS Web Server Authentication\n/)
      match(text, /Basic Constraints: critical\s+CA:FALSE/)
      match(text, /Authority Key Identifier/)
      const certificate = new X509Certificate(await readFile(file))
      for (const host of ['localhost', 'broker.example.org', hostname()])
        notEqual(certificate.checkHost(host), undefined)
      for (const address of ['127.0.0.1', '::1', '2001:db8::7']) notEqual(certificate.checkIP(address), undefined)
      equal(Math.round((certificate.validToDate.getTime() - Date.now()) / day), 397)
    }
  })

  test('may find an empty folder, and refuses one with other things in it', async (context) => {
    const folder = await temporaryFolder(context)
    await chmod(folder, 0o755)
    await ensurePki(folder)
    equal((await stat(folder)).mode & 0o777, 0o700)
    requireWhole(folder)

    const strange = await temporaryFolder(context)
    await writeFile(join(strange, 'thesis.tex'), '')
    await chmod(strange, 0o755)
    await rejects(ensurePki(strange), wrongUse(/holds thesis\.tex, and no ca\.pem .* name an empty folder/))
    deepEqual([await readdir(strange), (await stat(strange)).mode & 0o777], [['thesis.tex'], 0o755])

    const keyAlone = await temporaryFolder(context)
    await writeFile(join(keyAlone, 'ca.key'), 'x')
    await rejects(ensurePki(keyAlone), wrongUse(/holds ca\.key, and no ca\.pem/))
  })

  test('says what it cannot do', async (context) => {
    const folder = await temporaryFolder(context)
    await writeFile(join(folder, 'file'), '')
    await rejects(ensurePki(join(folder, 'file', 'pki')), wrongUse(/cannot be .* \(ENOTDIR\)/))
    await rejects(ensurePki(join(folder, 'pki'), { hostNames: ['a b'] }), wrongUse(/"a b" is not a DNS name/))
    await symlink(join(folder, 'nowhere'), join(folder, 'dangling'))
    await rejects(ensurePki(join(folder, 'dangling')), wrongUse(/dangling.* cannot be .* \(ENOENT\)/))
  })

  test('twice changes nothing, and many at once make one', async (context) => {
    const folder = await newFolder(context)
    const all = await Promise.all(Array.from({ length: 6 }, () => ensurePki(folder)))
    equal(all.filter(({ created }) => created).length, 1)
    equal(new Set(all.map(({ demo }) => demo?.fingerprint)).size, 1)
    requireWhole(folder)
    const before = await contents(folder)
    const { created, made, demo } = await ensurePki(folder, { hostNames: ['later.example.org'] })
    deepEqual([created, made, demo?.name], [false, [], 'demo'])
    deepEqual(await contents(folder), before)
  })

  test('waits for somebody else’s half-done work before it judges it', async (context) => {
    const folder = await newFolder(context)
    await mkdir(folder, { recursive: true })
    const ensured = await withLock(folder, async () => {
      await writeFile(join(folder, 'ca.key'), 'half done')
      const waiting = ensurePki(folder)
      await new Promise((resolve) => setTimeout(resolve, 100))
      await rm(join(folder, 'ca.key'))
      return { waiting }
    })
    equal((await ensured.waiting).created, true)
    requireWhole(folder)
  })

  test('many processes at once make one', async (context) => {
    const folder = await newFolder(context)
    const parameters = [dies, 'before', '0', 'ensure', 'ensurePki', JSON.stringify([folder])]
    const processes = [1, 2, 3].map(() => run(context, process.execPath, parameters))
    deepEqual(await Promise.all(processes.map((one) => one.ended())), [0, 0, 0])
    requireWhole(folder)
  })
})

describe('a process that is killed', { concurrency: 2 }, () => {
  // ledger, ca.key, ca.pem, twice (ledger, key, certificate), crl, ledger, ledger, demo.key, demo.pem, ledger
  const steps = 15
  for (let step = 1; step <= steps; step++) {
    for (const when of ['before', 'after']) {
      test(`${when} file ${step} of the first run leaves what the next completes`, async (context) => {
        const folder = await newFolder(context)
        const parameters = [dies, when, String(step), 'ensure', 'ensurePki', JSON.stringify([folder])]
        equal(await run(context, process.execPath, parameters).ended(), null, 'it was killed')
        const finished = when === 'after' && step === steps
        const known = existsSync(join(folder, 'ledger.json'))
        if (known && !finished)
          await rejects(issueDevice(folder, { name: 'd' }), wrongUse(/half made; run "sluice pki init"/))
        const { created, demo } = await ensurePki(folder)
        deepEqual([created, demo?.name], [!finished, 'demo'])
        requireWhole(folder)
      })
    }
  }

  test('there are no more files than these', async (context) => {
    const folder = await newFolder(context)
    const parameters = [dies, 'before', String(steps + 1), 'ensure', 'ensurePki', JSON.stringify([folder])]
    equal(await run(context, process.execPath, parameters).ended(), 0)
  })
})

describe('later runs', () => {
  const at = (time: number) => mock.timers.enable({ apis: ['Date'], now: time })

  test('renew server certificates in their last 30 days, with the same key and names', async (context) => {
    const folder = await newFolder(context)
    await ensurePki(folder, { hostNames: ['one.example.org'] })
    const files = [
      'server-ec.pem',
      'server-rsa.pem',
      'ca.pem',
      'ca.key',
      'server-ec.key',
      'server-rsa.key',
      'devices/demo.pem',
    ]
    const read = () => Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')))
    const before = await read()
    context.after(() => mock.timers.reset())

    at(Date.now() + 366 * day)
    deepEqual((await ensurePki(folder)).made, ['crl'])
    mock.timers.reset()
    at(Date.now() + 368 * day)
    deepEqual((await ensurePki(folder, { hostNames: ['two.example.org'] })).made, ['server-ec', 'server-rsa'])
    const after = await read()
    mock.timers.reset()
    deepEqual(
      after.map((text, index) => text === before[index]),
      [false, false, true, true, true, true, true],
    )
    const certificate = new X509Certificate(after[0] ?? '')
    for (const host of ['localhost', 'one.example.org', 'two.example.org'])
      notEqual(certificate.checkHost(host), undefined)
    equal(Math.round((certificate.validToDate.getTime() - Date.now()) / day), 368 + 397)
  })

  test('make what is missing, and pairs that do not fit', async (context) => {
    const folder = await newFolder(context)
    await ensurePki(folder)
    await rm(join(folder, 'server-ec.pem'))
    await rm(join(folder, 'server-rsa.key'))
    await rm(join(folder, 'crl.pem'))
    deepEqual((await ensurePki(folder)).made, ['server-ec', 'server-rsa', 'crl'])
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
    await writeFile(join(folder, 'server-ec.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }))
    deepEqual((await ensurePki(folder)).made, ['server-ec'])
    deepEqual((await ensurePki(folder)).made, [])
    const certificate = new X509Certificate(await readFile(join(folder, 'server-ec.pem')))
    equal(certificate.checkPrivateKey(privateKey), true)
  })

  test('cover new names where that is asked for', async (context) => {
    const folder = await newFolder(context)
    await ensurePki(folder)
    const options = { hostNames: ['*.example.org', '10.0.0.7'], renewForNames: true }
    deepEqual((await ensurePki(folder, options)).made, ['server-ec', 'server-rsa'])
    deepEqual((await ensurePki(folder, options)).made, [])
  })

  test('a revoked server certificate gets a new key', async (context) => {
    const folder = await newFolder(context)
    await ensurePki(folder)
    const key = await readFile(join(folder, 'server-ec.key'), 'utf8')
    await revoke(folder, 'server-ec')
    deepEqual((await ensurePki(folder)).made, ['server-ec'])
    notEqual(await readFile(join(folder, 'server-ec.key'), 'utf8'), key)
  })

  test('leave a certificate alone that was not made here, and say when it ends', async (context) => {
    const folder = await newFolder(context)
    await ensurePki(folder)
    const file = join(folder, 'server-ec.pem')
    const key = join(folder, 'server-ec.key')
    const own = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', '/CN=own']
    openssl('req', '-x509', ...own, '-keyout', key, '-out', file, '-days', '90')
    const before = await readFile(file, 'utf8')
    deepEqual((await ensurePki(folder)).attention, [])
    openssl('req', '-x509', ...own, '-keyout', key, '-out', file, '-days', '20')
    const { made, attention } = await ensurePki(folder)
    deepEqual([made, attention.length], [[], 1])
    match(attention[0] ?? '', /server-ec\.pem was not made here and ends on/)
    notEqual(await readFile(file, 'utf8'), before)
  })

  test('never make another CA, nor another ledger', async (context) => {
    for (const name of ['ca.pem', 'ledger.json']) {
      const folder = await newFolder(context)
      await ensurePki(folder)
      await rename(join(folder, name), `${folder}-${name}`)
      await rejects(ensurePki(folder), wrongUse(/is missing.*put a backup/))
      await rejects(issueDevice(folder, { name: 'd' }), wrongUse(/there is no .*ca\.pem|is missing.*put a backup/))
      await rename(`${folder}-${name}`, join(folder, name))
      requireWhole(folder)
    }
  })

  for (const [what, text] of [
    ['cut off', '{ "version": 1, "certif'],
    ['of another version', '{ "version": 2, "certificates": [] }'],
    ['without a list', '{ "version": 1 }'],
    ['with a strange entry', '{ "version": 1, "certificates": [{ "serial": "../x" }] }'],
  ] as const)
    test(`a ledger ${what} is never taken for an empty one`, async (context) => {
      const folder = await newFolder(context)
      await ensurePki(folder)
      await writeFile(join(folder, 'ledger.json'), text)
      await rejects(ensurePki(folder), wrongUse(/ledger\.json is damaged: .*Put a backup/))
      await rejects(revoke(folder, 'demo'), wrongUse(/ledger\.json is damaged/))
    })

  test('a CA whose key is elsewhere is fine until something needs it', async (context) => {
    const folder = await newFolder(context)
    await ensurePki(folder)
    await rename(join(folder, 'ca.key'), `${folder}.ca.key`)
    deepEqual((await ensurePki(folder)).attention, [])
    await rejects(issueDevice(folder, { name: 'd' }), wrongUse(/there is no .*ca\.key; put it back/))
    context.after(() => mock.timers.reset())
    at(Date.now() + 380 * day)
    const { made, attention } = await ensurePki(folder)
    deepEqual([made, attention.length], [[], 1])
    match(attention[0] ?? '', /server-ec\.pem is to be made anew .*cannot be: there is no .*ca\.key/)
    mock.timers.reset()
    at(Date.now() + 400 * day)
    await rejects(ensurePki(folder), wrongUse(/there is no .*ca\.key; put it back/))
    mock.timers.reset()
  })

  test('refuse a key that others may read, or that is another one', async (context) => {
    const folder = await newFolder(context)
    await ensurePki(folder)
    await chmod(join(folder, 'ca.key'), 0o640)
    await rejects(issueDevice(folder, { name: 'd' }), wrongUse(/ca\.key may be read by others; run "chmod 600/))
    await chmod(join(folder, 'ca.key'), 0o600)
    await writeFile(join(folder, 'ca.key'), await readFile(join(folder, 'server-ec.key')))
    await rejects(issueDevice(folder, { name: 'd' }), wrongUse(/ca\.key is not the key of .*ca\.pem/))
    await writeFile(join(folder, 'ca.key'), 'nonsense')
    await rejects(issueDevice(folder, { name: 'd' }), wrongUse(/ca\.key holds no private key/))
  })

  test('say that the folder is open to others', async (context) => {
    const folder = await newFolder(context)
    await ensurePki(folder)
    await chmod(folder, 0o750)
    match((await ensurePki(folder)).attention.join(), /is open to other users; run "chmod 700/)
  })

  test('nothing can be signed once the CA has ended', async (context) => {
    const folder = await newFolder(context)
    await ensurePki(folder)
    context.after(() => mock.timers.reset())
    at(Date.now() + 3651 * day)
    await rejects(issueDevice(folder, { name: 'd' }), wrongUse(/is valid from .* and not now/))
    mock.timers.reset()
  })
})

describe('a CA of one’s own', () => {
  for (const [kind, options] of [
    ['RSA', ['rsa:3072']],
    ['P-384', ['ec', '-pkeyopt', 'ec_paramgen_curve:secp384r1']],
  ] as const)
    test(`of ${kind} is used as it is`, async (context) => {
      const folder = await newFolder(context)
      await mkdir(folder, { recursive: true, mode: 0o700 })
      const [file, key] = [join(folder, 'ca.pem'), join(folder, 'ca.key')]
      openssl(
        'req',
        '-x509',
        '-newkey',
        ...options,
        '-nodes',
        '-subj',
        '/CN=Ours',
        '-addext',
        'keyUsage=critical,keyCertSign,cRLSign',
        '-days',
        '800',
        '-keyout',
        key,
        '-out',
        file,
      )
      await chmod(key, 0o600)
      const before = await readFile(file, 'utf8')
      const { created, made, demo } = await ensurePki(folder)
      deepEqual([created, made, demo], [false, ['server-ec', 'server-rsa', 'crl'], undefined])
      equal(await readFile(file, 'utf8'), before)
      for (const name of ['server-ec', 'server-rsa']) verify(file, join(folder, `${name}.pem`), 'sslserver')
      const { certificate, notAfter } = await issueDevice(folder, { name: 'd' })
      verify(file, certificate, 'sslclient')
      equal(notAfter.getTime(), new X509Certificate(before).validToDate.getTime(), 'no longer than the CA')
      await rejects(
        issueServer(folder, { name: 's.example', days: 900 }),
        wrongUse(/the CA itself ends on .*: at most 799 days/),
      )
      await revoke(folder, 'd')
      match(openssl('crl', '-in', join(folder, 'crl.pem'), '-CAfile', file, '-noout', '-text'), /Revoked Certificates:/)
    })

  test('must be one', async (context) => {
    const folder = await newFolder(context)
    await mkdir(folder, { recursive: true })
    const certificate = [
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-subj',
      '/CN=x',
      '-addext',
      'basicConstraints=CA:FALSE',
    ]
    openssl('req', ...certificate, '-keyout', join(folder, 'ca.key'), '-out', join(folder, 'ca.pem'))
    await rejects(ensurePki(folder), wrongUse(/ca\.pem is not the certificate of a CA/))
    await writeFile(join(folder, 'ca.pem'), 'nonsense')
    await rejects(ensurePki(folder), wrongUse(/ca\.pem is no certificate/))
  })
})
