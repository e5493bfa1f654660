import { deepEqual, equal, match } from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { complainAboutCiphers, type TlsPolicyName, tlsPolicies, tlsPolicyWith } from '../../../src/core/tls-policy.ts'
import { until } from '../../support/cleanup.ts'
import { handmadeHello } from './handmade-hello.ts'
import { Authority, dial, type MadeCertificate, type Probe, sClient, startFront } from './support.ts'

/** aws-security §1, copied from there and not from the code. */
const ecdhe = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES128-SHA256',
  'ECDHE-RSA-AES128-SHA256',
  'ECDHE-ECDSA-AES128-SHA',
  'ECDHE-RSA-AES128-SHA',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES256-SHA384',
  'ECDHE-RSA-AES256-SHA384',
  'ECDHE-RSA-AES256-SHA',
  'ECDHE-ECDSA-AES256-SHA',
]
const all18 = [
  ...ecdhe,
  'AES128-GCM-SHA256',
  'AES128-SHA256',
  'AES128-SHA',
  'AES256-GCM-SHA384',
  'AES256-SHA256',
  'AES256-SHA',
]
const three = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256']
const held: Readonly<Record<TlsPolicyName, readonly string[]>> = {
  TLS13_1_3_2022_10: three,
  TLS13_1_2_2022_10: [...three, ...all18],
  TLS12_1_2_2022_10: all18,
  TLS12_1_0_2016_01: all18,
  TLS12_1_0_2015_01: [...all18, 'DHE-RSA-AES256-SHA'],
  TLS13_1_2_2022_01: [...three.slice(0, 2), ...ecdhe, 'AES128-SHA', 'AES256-SHA'],
}
/** What nobody should get, beside suites of another policy. */
const never = [
  'DHE-RSA-AES256-GCM-SHA384',
  'AES256-CCM',
  'AES128-CCM8',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'TLS_AES_128_CCM_SHA256',
]
const candidates = [...three, ...all18, 'DHE-RSA-AES256-SHA', ...never]
const nameOf = (policy: string): string => `${policy.toLowerCase()}.example.com`
/** TLS 1.0, TLS 1.1 and 3DES are beyond what s_client offers by itself. */
const anything = 'ALL:@SECLEVEL=0'

function offer(port: number, cipher: string, ...more: string[]): Promise<Probe> {
  const parameters = cipher.startsWith('TLS_')
    ? ['-tls1_3', '-ciphersuites', cipher]
    : ['-tls1_2', '-cipher', `${cipher}:@SECLEVEL=0`]
  return sClient(port, [...parameters, ...more])
}

describe('security policies', () => {
  let authority: Authority
  let certificates: MadeCertificate[]
  let port = 0
  let stop: (() => Promise<void>)[] = []
  const scope = { after: (end: () => Promise<void>) => void stop.push(end) } as Parameters<typeof Authority.make>[0]
  before(async () => {
    authority = await Authority.make(scope)
    certificates = [await authority.issue('both', { kind: 'rsa' }), await authority.issue('both', { kind: 'ec' })]
    const names = (Object.keys(held) as TlsPolicyName[]).map((policy) => ({ name: nameOf(policy), policy }))
    const started = await startFront(scope, { settings: { certificates, names }, clientCertificates: false })
    port = started.port
  })
  after(async () => {
    for (const end of stop.toReversed()) await end()
    stop = []
  })

  it('the policies are those of aws-security §1', () => {
    const sets = (entries: [string, readonly string[]][]) =>
      new Map(entries.map(([name, list]) => [name, new Set(list)]))
    const found = Object.entries(tlsPolicies).map(([name, { ciphers }]): [string, readonly string[]] => [name, ciphers])
    deepEqual(sets(found), sets(Object.entries(held)))
  })

  for (const [policy, suites] of Object.entries(held)) {
    it(`${policy}: each of its ${suites.length} suites is negotiated, and nothing else`, async () => {
      const probes = await Promise.all(
        candidates.map(async (cipher) => [cipher, await offer(port, cipher, '-servername', nameOf(policy))] as const),
      )
      const got = probes.filter(([, probe]) => probe.cipher !== undefined)
      deepEqual(got.map(([cipher]) => cipher).toSorted(), suites.toSorted())
      for (const [cipher, probe] of got) {
        equal(probe.cipher, cipher)
        equal(probe.version, cipher.startsWith('TLS_') ? 'TLSv1.3' : 'TLSv1.2')
      }
      // Refused by us, with an alert, and not by a client that offered nothing.
      for (const [cipher, probe] of probes) {
        if (probe.cipher === undefined) match(probe.output, /alert (?:handshake failure|protocol version)/, cipher)
      }
    })
  }

  it('TLS 1.0 and 1.1 are refused under every policy', async () => {
    const asked = Object.keys(held).flatMap((policy) => ['-tls1', '-tls1_1'].map((version) => ({ policy, version })))
    const outputs = await Promise.all(
      asked.map(({ policy, version }) => sClient(port, [version, '-cipher', anything, '-servername', nameOf(policy)])),
    )
    for (const { output, cipher } of outputs) {
      equal(cipher, undefined)
      match(output, /alert protocol version/)
    }
  })

  it('3DES, RC4 and NULL are refused', async (t) => {
    // TLS_RSA_WITH_3DES_EDE_CBC_SHA, ECDHE_RSA of it, RC4_128_SHA, NULL_SHA256.
    for (const suite of [0x000a, 0xc012, 0x0005, 0x003b]) {
      const raw = await dial(t, port)
      raw.socket.write(handmadeHello({ suites: [suite] }))
      await raw.ended
      deepEqual([...raw.received.subarray(0, 7)], [21, 3, 3, 0, 2, 2, 40], 'alert handshake_failure')
    }
    // The same hello with a suite that we have, so that the refusal above is about the suite.
    const raw = await dial(t, port)
    raw.socket.write(handmadeHello({ suites: [0xc02f] }))
    await until('a ServerHello', () => raw.received.length > 5)
    equal(raw.received[0], 22)
  })

  it('RSA or ECDSA, as the client can', async () => {
    const ask = (...sigalgs: string[]) => sClient(port, [...sigalgs, '-servername', nameOf('TLS13_1_2_2022_10')])
    const [rsa, ec, rsa12, ec12] = await Promise.all([
      ask('-tls1_3', '-sigalgs', 'rsa_pss_rsae_sha256'),
      ask('-tls1_3', '-sigalgs', 'ecdsa_secp256r1_sha256'),
      ask('-tls1_2', '-sigalgs', 'RSA+SHA256'),
      ask('-tls1_2', '-sigalgs', 'ECDSA+SHA256'),
    ])
    match(rsa?.output ?? '', /Peer signature type: RSA-PSS/)
    match(ec?.output ?? '', /Peer signature type: ECDSA/)
    match(rsa12?.cipher ?? '', /RSA/)
    match(ec12?.cipher ?? '', /ECDSA/)
  })

  it('`ciphers` replaces the suites, and the versions that they leave', async (t) => {
    const ciphers = 'ECDHE-RSA-AES256-GCM-SHA384:TLS_AES_256_GCM_SHA384'
    const names = [{ name: 'only12.example.com', ciphers: 'AES128-SHA:ECDHE-ECDSA-AES128-SHA' }]
    const started = await startFront(t, { settings: { certificates, ciphers, names }, clientCertificates: false })
    const to = async (name: string) => {
      const sni = name === '' ? ['-noservername'] : ['-servername', name]
      const probes = candidates.map(async (cipher) => [cipher, await offer(started.port, cipher, ...sni)] as const)
      return (await Promise.all(probes)).filter(([, probe]) => probe.cipher !== undefined).map(([cipher]) => cipher)
    }
    deepEqual(await to(''), ['TLS_AES_256_GCM_SHA384', 'ECDHE-RSA-AES256-GCM-SHA384'])
    deepEqual(await to('only12.example.com'), ['ECDHE-ECDSA-AES128-SHA', 'AES128-SHA'])
    // The server's order counts.
    const both = await offer(started.port, 'ECDHE-ECDSA-AES128-SHA:AES128-SHA', '-servername', 'only12.example.com')
    equal(both.cipher, 'AES128-SHA')
  })
})

it('lists of suites: names only', () => {
  deepEqual(complainAboutCiphers('AES128-SHA:ECDHE-RSA-CHACHA20-POLY1305:TLS_AES_128_CCM_SHA256'), [])
  for (const list of [
    'HIGH',
    '!aNULL',
    '@SECLEVEL=0',
    'aes128-sha',
    'PSK-AES128-CBC-SHA',
    'DES-CBC3-SHA',
    '-ALL',
    ' ',
  ]) {
    equal(complainAboutCiphers(list).length, 1, list)
  }
  equal(complainAboutCiphers('HIGH:LOW:AES128-SHA:x').length, 3)
  equal(complainAboutCiphers('x'.repeat(5_000))[0], `there is no cipher suite "${'x'.repeat(100)}"`)
})

it('a policy speaks no version that a list has no suite for', () => {
  deepEqual(tlsPolicyWith('TLS13_1_2_2022_10', 'AES128-SHA')?.maxVersion, 'TLSv1.2')
  deepEqual(tlsPolicyWith('TLS13_1_2_2022_10', 'TLS_AES_128_GCM_SHA256')?.minVersion, 'TLSv1.3')
  deepEqual(tlsPolicyWith('TLS13_1_3_2022_10', 'AES128-SHA'), undefined)
  deepEqual(tlsPolicyWith('TLS12_1_2_2022_10', 'TLS_AES_128_GCM_SHA256'), undefined)
})
