import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { parse } from 'yaml'
import { addPki } from '../../src/commands/pki.ts'
import { type Scope, temporaryFolder } from '../support/cleanup.ts'
import { command, type Ran } from '../support/command.ts'
import { writeFiles } from '../support/sluice.ts'
import { ecKey, request, tryOpenssl, verify } from '../pki/openssl.ts'

const policies = {
  devices: { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: 'iot:*', Resource: '*' }] },
}

interface Place {
  readonly folder: string
  readonly sluice: (...parameters: string[]) => Promise<Ran>
  /** The JSON that it prints; throws where it didn't end well. */
  readonly json: (...parameters: string[]) => Promise<Record<string, unknown>>
}

async function place(scope: Scope): Promise<Place> {
  const folder = await temporaryFolder(scope)
  await writeFiles(folder, {
    'sluice.yaml': '',
    'rules/a.yaml': 'from: a/b\nto: [{ worker: log }]\n',
    'workers/log.yaml': 'kind: log\n',
    'identity/policies.yaml': { policies, things: [{ name: 'known' }], principals: [{ name: 'somebody' }] },
  })
  const sluice = (...parameters: string[]) => command(scope, folder, ['pki', ...parameters])
  return {
    folder,
    sluice,
    async json(...parameters) {
      const { code, stdout, stderr } = await sluice(...parameters, '--json')
      equal(code, 0, stdout + stderr)
      return JSON.parse(stdout) as Record<string, unknown>
    },
  }
}

test('what loads the X.509 library is not loaded before a command of it runs', async () => {
  equal(typeof addPki, 'function')
  const loaded = () => Object.keys(createRequire(import.meta.url).cache).some((file) => file.includes('tsyringe'))
  equal(loaded(), false)
  await import('../../src/pki/issue.ts')
  equal(loaded(), true, 'or this test cannot fail')
})

describe('sluice pki', { concurrency: 2 }, () => {
  test('init makes data/pki once, and says what to do with it', async (context) => {
    const { folder, sluice, json } = await place(context)
    const { code, stdout, stderr } = await sluice('init')
    deepEqual([code, stderr], [0, ''])
    match(stdout, /^data\/pki: made ca, server-ec, server-rsa, crl, demo\n/)
    match(
      stdout,
      /certificateAuthorities: \[\{ name: local, certificate: \.\.\/data\/pki\/ca\.pem, crl: \.\.\/data\/pki\/crl\.pem \}\]/,
    )
    equal(statSync(join(folder, 'data', 'pki')).mode & 0o777, 0o700)
    const before = await readFile(join(folder, 'data', 'pki', 'ca.pem'), 'utf8')
    equal((await sluice('init')).stdout, 'data/pki is complete; nothing was made\n')
    equal(await readFile(join(folder, 'data', 'pki', 'ca.pem'), 'utf8'), before)
    const again = await json('init', '--dns', 'broker.lan', '--ip', '10.0.0.9')
    deepEqual([again['created'], again['made']], [false, ['server-ec', 'server-rsa']])
  })

  test('issue writes a device’s files and its principal, and lines to try it', async (context) => {
    const { folder, sluice } = await place(context)
    await sluice('init')
    const { code, stdout, stderr } = await sluice('issue', 'pump:7', '--thing', 'pump:7', '--policy', 'devices')
    deepEqual([code, stderr], [0, ''])
    const file = (name: string) => join(folder, 'data', 'pki', name)
    verify(file('ca.pem'), file('devices/pump_7.pem'), 'sslclient')
    match(stdout, /principal +identity\/pump_7\.yaml/)
    match(
      stdout,
      /\nmosquitto_pub -h localhost -p 8883 --cafile data\/pki\/ca\.pem --cert data\/pki\/devices\/pump_7\.pem --key data\/pki\/devices\/pump_7\.key -i pump:7 /,
    )
    match(
      stdout,
      /\ncurl --cacert data\/pki\/ca\.pem --cert .* 'https:\/\/localhost:8443\/topics\/things\/pump:7\/hello\?qos=1'\n/,
    )

    const der = Buffer.from(
      (await readFile(file('devices/pump_7.pem'), 'utf8')).replaceAll(/-----[A-Z ]+-----/g, ''),
      'base64',
    )
    const fingerprint = createHash('sha256').update(der).digest('hex')
    deepEqual(parse(await readFile(join(folder, 'identity', 'pump_7.yaml'), 'utf8')), {
      things: [{ name: 'pump:7' }],
      principals: [{ name: 'pump:7', thing: 'pump:7', policies: ['devices'], x509: { fingerprint } }],
    })
  })

  test('issue registers no thing twice, and may leave out the principal', async (context) => {
    const { folder, sluice, json } = await place(context)
    await sluice('init')
    const alone = await sluice('issue', 'alone', '--rsa', '--days', '3', '--subject', 'CN=x,O=Works')
    match(alone.stdout, /^alone, a device: CN=x,O=Works, until /)
    match(
      alone.stdout,
      /It is nobody yet: write a principal with "x509: \{ fingerprint: [0-9a-f]{64} \}" in identity\//,
    )
    const { principal, fingerprint, notAfter } = await json('issue', 'd', '--thing', 'known')
    equal(principal, join(folder, 'identity', 'd.yaml'))
    match(String(notAfter), /^\d{4}-\d\d-\d\dT.*Z$/)
    deepEqual(parse(await readFile(join(folder, 'identity', 'd.yaml'), 'utf8')), {
      principals: [{ name: 'd', thing: 'known', x509: { fingerprint } }],
    })
  })

  test('issue --server makes a server’s', async (context) => {
    const { folder, sluice, json } = await place(context)
    await sluice('init')
    const { certificate } = await json(
      'issue',
      'mosquitto',
      '--server',
      '--dns',
      'broker.lan',
      '--dns',
      'b2.lan',
      '--ip',
      '::1',
    )
    verify(join(folder, 'data/pki/ca.pem'), String(certificate), 'sslserver')
    match(
      tryOpenssl('x509', '-in', String(certificate), '-noout', '-text').said,
      /DNS:broker\.lan, DNS:b2\.lan, IP Address:0:/,
    )
  })

  test('sign takes a file or standard input', async (context) => {
    const { folder, sluice, json } = await place(context)
    await sluice('init')
    await writeFile(join(folder, 'd.csr'), request(ecKey, '/CN=d'))
    const { certificate, key, principal } = await json('sign', 'd.csr', '--policy', 'devices')
    verify(join(folder, 'data/pki/ca.pem'), String(certificate), 'sslclient')
    deepEqual([key, principal], [undefined, join(folder, 'identity', 'd.yaml')])
    const piped = await command(context, folder, ['pki', 'sign', '-', '--name', 'e'], {
      input: request(ecKey, '/CN=x'),
    })
    match(piped.stdout, /^e, a device: CN=x, until [\s\S]*The certificate goes back to the device, with the CA\.\n$/)
    ok(!existsSync(join(folder, 'data/pki/devices/e.key')))
  })

  test('revoke, crl and ls', async (context) => {
    const { folder, sluice, json } = await place(context)
    await sluice('init')
    const { certificate } = await json('issue', 'd')
    const revoked = await sluice('revoke', 'd')
    match(
      revoked.stdout,
      /^revoked d, serial number [0-9a-f]{32}, fingerprint [0-9a-f]{64}\ndata\/pki\/crl\.pem lists it\. A running Sluice takes it within seconds where identity\/ names the list:/,
    )
    const [ca, crl] = ['ca.pem', 'crl.pem'].map((name) => join(folder, 'data/pki', name))
    const checked = tryOpenssl('verify', '-crl_check', '-CAfile', ca ?? '', '-CRLfile', crl ?? '', String(certificate))
    match(checked.said, /certificate revoked/)
    match((await sluice('revoke', 'd')).stdout, /^d, serial number [0-9a-f]{32}, was revoked already on /)

    match(
      (await sluice('crl')).stdout,
      /^data\/pki\/crl\.pem lists 1 certificate; the next is due by \d{4}-\d\d-\d\d\n$/,
    )
    equal((await sluice('crl', '--print')).stdout, await readFile(crl ?? '', 'utf8'))
    const listed = (await json('ls')) as unknown as readonly { name: string; state: string }[]
    deepEqual(
      listed.map(({ name, state }) => `${name} ${state}`),
      ['server-ec valid', 'server-rsa valid', 'demo valid', 'd revoked'],
    )
    match((await sluice('ls')).stdout, /\nd +device +revoked +until /)
  })

  test('what it prints and writes is what identity/ takes', async (context) => {
    const { folder, sluice } = await place(context)
    const entry = /certificateAuthorities: .*/.exec((await sluice('init')).stdout)?.[0] ?? ''
    for (const name of ['a:1', 'b'])
      equal((await sluice('issue', name, '--thing', name, '--policy', 'devices')).code, 0)
    await writeFile(join(folder, 'identity', 'local.yaml'), entry)
    equal((await sluice('revoke', 'b')).code, 0)
    const { code, stdout, stderr } = await command(context, folder, ['check'])
    deepEqual([code, stderr], [0, ''])
    match(stdout, /^fine: .* 3 principals/)
  })

  // Commands that read without secrets leave paths of files as they are, and a CA's entry is then examined as if it were PEM.
  test('issue writes a principal where the CA is named already', async (context) => {
    const { folder, sluice } = await place(context)
    const entry = /certificateAuthorities: .*/.exec((await sluice('init')).stdout)?.[0] ?? ''
    await writeFile(join(folder, 'identity', 'local.yaml'), entry)
    const { code, stderr } = await sluice('issue', 'd', '--policy', 'devices')
    deepEqual([code, stderr], [0, ''])
  })

  test('--folder names another folder, and needs no sluice.yaml', async (context) => {
    const folder = await temporaryFolder(context)
    const ran = await command(context, folder, ['pki', 'init', '--folder', 'my pki'])
    match(ran.stdout, /^my pki: made ca/)
    const issued = await command(context, folder, ['pki', 'issue', 'd', '--folder', 'my pki'])
    match(issued.stdout, /--cert 'my pki\/devices\/d\.pem' --key 'my pki\/devices\/d\.key'/)
    deepEqual((await readdir(folder)).toSorted(), ['my pki'])
  })

  test('wrong use is one sentence and exit code 2, and makes nothing', async (context) => {
    const { folder, sluice } = await place(context)
    await sluice('init')
    await writeFile(join(folder, 'identity', 'taken.yaml'), '{}')
    await writeFile(join(folder, 'large.csr'), 'x'.repeat(70_000))
    const before = await readFile(join(folder, 'data/pki/ledger.json'), 'utf8')
    const files = await readdir(join(folder, 'identity'))
    const cases: readonly (readonly [string, RegExp])[] = [
      ['issue d --policy devicez', /no policy "devicez" in identity\/; did you mean "devices"\?/],
      ['issue somebody --policy devices', /there is a principal "somebody" already/],
      ['issue taken --thing t', /identity\/taken\.yaml is there already; nothing was made/],
      ['issue d --thing a/b', /"a\/b" is not a thing name here/],
      ['issue a/b', /"a\/b" is not a device name here: use letters/],
      ['issue d --dns a.example', /--dns and --ip are for servers; say --server too/],
      ['issue s.example --server --policy devices', /--thing, --policy and --subject are for devices/],
      ['issue s.example --server --dns 1.2.3.4', /"1\.2\.3\.4" is not a DNS name: say it with --ip/],
      ['issue d --days 0', /It must be a whole number of days, 1 or more/],
      ['issue d --days 1.5', /It must be a whole number of days, 1 or more/],
      ['issue demo', /demo has a certificate already, .*revoke it first/],
      ['sign nowhere.csr', /the request nowhere\.csr cannot be read \(ENOENT\)/],
      ['sign identity', /the request identity cannot be read \(EISDIR\)/],
      ['sign large.csr', /the certificate request is refused: it is larger than 64 KiB/],
      ['sign sluice.yaml', /0 blocks of "-----BEGIN CERTIFICATE REQUEST-----"/],
      ['revoke dmo', /no certificate has the name, serial number or fingerprint "dmo"; did you mean "demo"\?/],
      ['ls --folder nowhere', /there is no ledger of a PKI in .*nowhere; "sluice pki init" makes one/],
      ['crl --folder nowhere', /there is no CA in .*nowhere; "sluice pki init" makes one/],
      ['init --ip localhost', /"localhost" is not an IP address/],
    ]
    for (const [parameters, says] of cases) {
      const { code, stdout, stderr } = await sluice(...parameters.split(' '))
      match(stderr, says, parameters)
      deepEqual([code, stdout, / {4}at /.test(stderr)], [2, '', false], parameters)
    }
    equal(await readFile(join(folder, 'data/pki/ledger.json'), 'utf8'), before)
    deepEqual(await readdir(join(folder, 'identity')), files)
    ok(!existsSync(join(folder, 'nowhere')))
  })
})
