import { deepEqual, doesNotMatch, equal, match, ok, rejects } from 'node:assert/strict'
import { copyFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { it } from 'node:test'
import { messageOf } from '../../../src/core/errors.ts'
import { expiredIn, readTlsMaterial, tlsFiles, type TlsSettings } from '../../../src/ingest/tls/material.ts'
import { loadFolder, writeConfig } from '../../support/config-folder.ts'
import { Authority } from './support.ts'

const day = 86_400_000
const defaults: TlsSettings = { policy: 'TLS13_1_2_2022_10', sni: 'optional', names: [] }

/** Everything that is wrong, a sentence each; without the folder. */
async function complaints(authority: Authority, settings: Partial<TlsSettings>): Promise<string[]> {
  let text = ''
  await rejects(readTlsMaterial({ ...defaults, ...settings }, []), (error: Error) => {
    text = messageOf(error)
    return 'code' in error && error.code === 'CONFIG_INVALID'
  })
  doesNotMatch(text, /BEGIN|[A-Za-z0-9+/]{60}/, 'nothing of a file is shown')
  return text.replaceAll(`${authority.folder}/`, '').split(/; (?=tls\.)/)
}

it('two kinds, names with their own, and what they inherit', async (t) => {
  const authority = await Authority.make(t)
  const [rsa, ec, own] = await Promise.all([
    authority.issue('rsa', { kind: 'rsa', names: ['localhost'] }),
    authority.issue('ec', { names: ['localhost'] }),
    authority.issue('own', { names: ['iot.example.com'] }),
  ])
  const settings: TlsSettings = {
    ...defaults,
    ciphers: 'AES128-SHA',
    names: [
      { name: 'iot.example.com', certificates: [own], policy: 'TLS13_1_3_2022_10', defaultAuthorizer: 'door' },
      { name: 'localhost', allowAuthorizerOverride: true },
      { name: '*.localhost', ciphers: 'AES256-SHA' },
    ],
  }
  const material = await readTlsMaterial(settings, [rsa, ec])
  deepEqual(
    material.fallback.certificates.map(({ files }) => files),
    [rsa, ec],
  )
  deepEqual(material.fallback.policy.ciphers, ['AES128-SHA'])
  const [first, second, third] = [...material.names.values()]
  deepEqual(first?.policy.minVersion, 'TLSv1.3')
  deepEqual(first?.authorizer, { default: 'door', allowOverride: false })
  deepEqual(
    first?.certificates.map(({ files }) => files),
    [own],
  )
  deepEqual(
    second?.certificates.map(({ files }) => files),
    [rsa, ec],
  )
  deepEqual([second?.policy.ciphers, third?.policy.ciphers], [['AES128-SHA'], ['AES256-SHA']])
  deepEqual([second?.authorizer, third?.authorizer], [{ allowOverride: true }, undefined])
  deepEqual(
    material.files,
    [rsa, ec, own].flatMap(({ certificate, key }) => [certificate, key]),
  )
  deepEqual(tlsFiles(settings, [rsa, ec]), material.files)
  deepEqual(
    material.warnings.map(({ message }) => message.replace(/\(.*\)/, '(FILE)')),
    ['rsa', 'ec'].map(
      (_, index) => `tls.certificates.${index}.certificate is not for *.localhost (FILE); clients will refuse it`,
    ),
  )
})

it('`tls` of sluice.yaml is what it takes', async (t) => {
  const authority = await Authority.make(t)
  const pair = await authority.issue('one', { names: ['localhost'] })
  const name = { name: 'LocalHost', policy: 'IoTSecurityPolicy_TLS13_1_3_2022_10' }
  const folder = await writeConfig(t, {
    'sluice.yaml': JSON.stringify({
      tls: { names: [name], certificates: [{ certificate: 'one-ec-1.pem', key: './one-ec-1.key' }] },
    }),
  })
  const { config, problems } = await loadFolder(folder)
  deepEqual(
    problems.map(({ message }) => message.replace(folder, 'FOLDER')),
    [
      'tls.certificates.0.certificate: the file FOLDER/one-ec-1.pem cannot be read: there is no such file',
      'tls.certificates.0.key: the file FOLDER/one-ec-1.key cannot be read: there is no such file',
    ],
  )
  equal(config, undefined)
  await copyFile(pair.certificate, join(folder, 'one-ec-1.pem'))
  await copyFile(pair.key, join(folder, 'one-ec-1.key'))
  const settings = (await loadFolder(folder)).config?.settings.tls
  ok(settings !== undefined)
  const material = await readTlsMaterial(settings, [])
  deepEqual(material.files, [join(folder, 'one-ec-1.pem'), join(folder, 'one-ec-1.key')])
  deepEqual(material.fallback.policy.ciphers.length, 21)
  deepEqual(material.names.get('localhost')?.policy.minVersion, 'TLSv1.3')
})

it('everything that is wrong is told, with its setting and its file', async (t) => {
  const authority = await Authority.make(t)
  const [one, other, client] = await Promise.all([
    authority.issue('one'),
    authority.issue('other'),
    authority.issue('client', { usage: 'clientAuth' }),
  ])
  const write = async (name: string, text: string) => (
    await writeFile(authority.path(name), text),
    authority.path(name)
  )
  const damaged = await write(
    'damaged.pem',
    (await authority.text('one-ec-1.pem')).replace(/\n[A-Za-z0-9+/]{20}/, '\nAAAAAAAAAAAAAAAAAAAA'),
  )
  const broken = await write(
    'broken.pem',
    `${await authority.text('one-ec-1.pem')}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`,
  )
  const large = await write('large.pem', `-----BEGIN CERTIFICATE-----\n${'A'.repeat(300_000)}`)
  const text = await write('notes.txt', 'not PEM')
  await authority.openssl('ec', '-in', one.key, '-aes128', '-passout', 'pass:secret', '-out', 'locked.key')
  await authority.openssl('pkcs8', '-topk8', '-in', one.key, '-passout', 'pass:secret', '-out', 'locked8.key')
  await authority.openssl('genrsa', '-out', 'small.key', '1024')
  await authority.openssl('req', '-x509', '-key', 'small.key', '-out', 'small.pem', '-subj', '/CN=small', '-days', '2')
  const certificates = [
    { certificate: one.certificate, key: other.key },
    { certificate: authority.path('gone.pem'), key: authority.path('gone.key') },
    { certificate: damaged, key: one.key },
    { certificate: text, key: text },
    { certificate: one.certificate, key: authority.path('locked.key') },
    client,
    { certificate: one.certificate, key: authority.path('locked8.key') },
    { certificate: large, key: authority.folder },
    { certificate: broken, key: one.key },
    { certificate: authority.path('small.pem'), key: authority.path('small.key') },
    { certificate: one.key, key: one.certificate },
  ]
  const names = [{ name: 'a.example.com', certificates: [one, other] }]
  const found = await complaints(authority, {
    certificates,
    names,
    policy: 'TLS13_1_3_2022_10',
    ciphers: 'AES128-SHA',
  })
  const expected = [
    'tls.certificates.0.key does not belong to its certificate (other-ec-1.key)',
    'tls.certificates.1.certificate: there is no file gone.pem',
    'tls.certificates.1.key: there is no file gone.key',
    'tls.certificates.2.certificate holds no certificate that can be read (damaged.pem)',
    'tls.certificates.3.certificate must be the path of a PEM file (notes.txt)',
    'tls.certificates.3.key must be the path of a PEM file (notes.txt)',
    'tls.certificates.4.key is encrypted; write it without a passphrase (locked.key)',
    'tls.certificates.5.certificate is not a server certificate: its extended key usage lacks serverAuth (client-ec-1.pem)',
    'tls.certificates.6.key is encrypted; write it without a passphrase (locked8.key)',
    'tls.certificates.7.certificate must be the path of a PEM file (large.pem)',
    `tls.certificates.7.key must be the path of a PEM file (${authority.folder})`,
    'tls.certificates.8.certificate holds no certificate that can be read (broken.pem)',
    'tls.certificates.9 cannot be served (small.pem): error:0A00018F:SSL routines::ee key too small',
    'tls.certificates.10.certificate holds no certificate that can be read (one-ec-1.key)',
    'tls.certificates.10.key holds no private key that can be read (one-ec-1.pem)',
    'tls.ciphers has no suite for a version of TLS that TLS13_1_3_2022_10 speaks',
    'tls.names.0.certificates.1 is another ec certificate beside tls.names.0.certificates.0, and one of a kind is served (other-ec-1.pem)',
    'tls.names.0.ciphers has no suite for a version of TLS that TLS13_1_3_2022_10 speaks',
  ]
  deepEqual(found, expected)
})

it('expired and not yet valid are warnings', async (t) => {
  const authority = await Authority.make(t)
  const one = await authority.issue('one')
  const settings = { ...defaults, certificates: [one] }
  const at = async (offset: number) => {
    const material = await readTlsMaterial(settings, [], Date.now() + offset)
    return material.warnings.map(
      ({ file, message }) => (equal(file, one.certificate), message.replace(/\(.*\)/, '(FILE)')),
    )
  }
  deepEqual(await at(0), [])
  deepEqual(await at(3 * day), ['tls.certificates.0.certificate has expired (FILE); clients will refuse it'])
  deepEqual(await at(-3 * day), ['tls.certificates.0.certificate is not valid yet (FILE); clients will refuse it'])
  const material = await readTlsMaterial(settings, [])
  deepEqual(expiredIn(material), [])
  ok(expiredIn(material, Date.now() + 3 * day).length === 1)
})

it('a chain is read whole', async (t) => {
  const authority = await Authority.make(t)
  await authority.issue('middle', { authority: true })
  await authority.openssl('pkey', '-in', 'middle-ec-1.key', '-out', 'middle.key')
  await authority.openssl('x509', '-in', 'middle-ec-1.pem', '-out', 'middle.pem')
  const leaf = await authority.issue('leaf', { by: 'middle' })
  await writeFile(leaf.certificate, `${await authority.text('leaf-ec-1.pem')}${await authority.text('middle.pem')}`)
  const { fallback } = await readTlsMaterial({ ...defaults, certificates: [leaf] }, [])
  match(fallback.certificates[0]?.certificate.subject ?? '', /CN=leaf/)
})
