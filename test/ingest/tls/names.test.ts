import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import { until } from '../../support/cleanup.ts'
import { Authority, type MadeCertificate, secure, sClient, startFront } from './support.ts'

describe('server names', () => {
  let authority: Authority
  let fallback: MadeCertificate[]
  let own: MadeCertificate[]
  let stop: (() => Promise<void>)[] = []
  const scope = { after: (end: () => Promise<void>) => void stop.push(end) } as Parameters<typeof Authority.make>[0]
  before(async () => {
    authority = await Authority.make(scope)
    const both = (name: string, names: readonly string[]) =>
      Promise.all([authority.issue(name, { kind: 'rsa', names }), authority.issue(name, { kind: 'ec', names })])
    ;[fallback, own] = await Promise.all([
      both('fallback', ['localhost', '*.plant.internal']),
      both('own', ['iot.example.com', '*.example.com']),
    ])
  })
  after(async () => {
    for (const end of stop.toReversed()) await end()
    stop = []
  })

  /** Common names of the certificates that each server name gets (`''`: none is sent); undefined where it is refused. */
  async function served(port: number, names: readonly string[]): Promise<(string | undefined)[]> {
    const probes = names.map((name) => sClient(port, name === '' ? ['-noservername'] : ['-servername', name]))
    return (await Promise.all(probes)).map((probe) => {
      if (probe.cipher === undefined) match(probe.output, /unrecognized name/)
      return probe.cipher === undefined ? undefined : probe.subject
    })
  }

  it('without names, any name and none get the default', async (t) => {
    const { port } = await startFront(t, { settings: { certificates: fallback } })
    deepEqual(await served(port, ['', 'localhost', 'whatever.example.org']), ['fallback', 'fallback', 'fallback'])
  })

  it('with names: the own one, the pattern, the default where it is meant; a wrong one fails', async (t) => {
    const { port, taken, failures, log } = await startFront(t, {
      settings: {
        certificates: fallback,
        names: [
          { name: 'iot.example.com', certificates: own, defaultAuthorizer: 'door' },
          { name: '*.example.com', certificates: own },
        ],
      },
    })
    const asked = ['', 'localhost', 'a.plant.internal', 'iot.example.com', 'IOT.Example.COM', 'b.example.com']
    const expected = ['fallback', 'fallback', 'fallback', 'own', 'own', 'own']
    deepEqual(await served(port, asked), expected)
    deepEqual(
      taken.map(({ facts }) => facts.tls.serverName ?? '').toSorted(),
      ['', 'a.plant.internal', 'b.example.com', 'iot.example.com', 'iot.example.com', 'localhost'].toSorted(),
    )
    for (const { facts } of taken) {
      const { serverName, authorizer } = facts.tls
      deepEqual(authorizer, serverName === 'iot.example.com' ? { default: 'door', allowOverride: false } : undefined)
    }
    const wrong = ['example.com', 'a.b.example.com', 'other.example.org', 'localhost.example.org', '192.0.2.1']
    deepEqual(
      await served(port, wrong),
      wrong.map(() => undefined),
    )
    equal(failures.get('server-name'), wrong.length)
    const [line] = log.lines.filter(({ facts }) => facts['reason'] === 'server-name')
    deepEqual([line?.level, line?.facts['setting'], line?.facts['sourceIp']], ['warn', 'listen.https', '127.0.0.1'])
  })

  it('required: none and unknown ones are refused, without names too', async (t) => {
    const bare = await startFront(t, { settings: { certificates: fallback, sni: 'required' } })
    deepEqual(await served(bare.port, ['', 'localhost', 'a.plant.internal', 'other.example.org']), [
      undefined,
      'fallback',
      'fallback',
      undefined,
    ])
    const names = [{ name: 'iot.example.com', certificates: own }]
    const named = await startFront(t, { settings: { certificates: fallback, sni: 'required', names } })
    deepEqual(await served(named.port, ['', 'localhost', 'iot.example.com', 'b.example.com']), [
      undefined,
      'fallback',
      'own',
      undefined,
    ])
  })

  it('RSA and ECDSA for each name', async (t) => {
    const names = [{ name: 'iot.example.com', certificates: own }]
    const { port } = await startFront(t, { settings: { certificates: fallback, names } })
    for (const [name, subject] of [
      ['localhost', 'fallback'],
      ['iot.example.com', 'own'],
    ] as const) {
      for (const kind of ['RSA', 'ECDSA']) {
        const cipher = `ECDHE-${kind}-AES128-GCM-SHA256`
        const probe = await sClient(port, ['-tls1_2', '-cipher', cipher, '-servername', name])
        deepEqual([probe.cipher, probe.subject], [cipher, subject])
        const sigalgs = kind === 'RSA' ? 'rsa_pss_rsae_sha256' : 'ecdsa_secp256r1_sha256'
        const newer = await sClient(port, ['-tls1_3', '-sigalgs', sigalgs, '-servername', name])
        deepEqual([newer.version, newer.subject], ['TLSv1.3', subject])
        match(newer.output, kind === 'RSA' ? /signature type: RSA-PSS/ : /signature type: ECDSA/)
      }
    }
  })

  it('a policy for each name', async (t) => {
    const { port } = await startFront(t, {
      settings: {
        certificates: fallback,
        names: [
          { name: 'old.example.com', policy: 'TLS12_1_2_2022_10', certificates: own },
          { name: 'new.example.com', policy: 'TLS13_1_3_2022_10', certificates: own },
        ],
      },
    })
    const versions = async (name: string) => {
      const asked = ['-tls1_2', '-tls1_3'].map((version) => sClient(port, [version, '-servername', name]))
      return (await Promise.all(asked)).map(({ version }) => version)
    }
    deepEqual(await versions('old.example.com'), ['TLSv1.2', undefined])
    deepEqual(await versions('new.example.com'), [undefined, 'TLSv1.3'])
    deepEqual(await versions('localhost'), ['TLSv1.2', 'TLSv1.3'])
  })

  const text = (path: string) => readFile(path, 'utf8')

  it('chains of several intermediates, one for each kind', async (t) => {
    const sign = async (kind: 'rsa' | 'ec') => {
      const middle = await authority.issue(`middle-${kind}`, { kind, authority: true })
      await authority.openssl('pkey', '-in', middle.key, '-out', `middle-${kind}.key`)
      await authority.openssl('x509', '-in', middle.certificate, '-out', `middle-${kind}.pem`)
      const leaf = await authority.issue(`leaf-${kind}`, { kind, names: ['localhost'], by: `middle-${kind}` })
      const chain = authority.path(`chain-${kind}.pem`)
      await writeFile(chain, [await text(leaf.certificate), await text(middle.certificate)].join(''))
      return { certificate: chain, key: leaf.key }
    }
    const certificates = await Promise.all([sign('rsa'), sign('ec')])
    const { port } = await startFront(t, { settings: { certificates } })
    for (const kind of ['RSA', 'ECDSA']) {
      const cipher = `ECDHE-${kind}-AES128-GCM-SHA256`
      const check = ['-CAfile', authority.path('ca.pem'), '-verify_return_error']
      const probe = await sClient(port, ['-tls1_2', '-cipher', cipher, ...check])
      match(probe.output, /Verify return code: 0 \(ok\)/, kind)
    }
  })

  it('a client that trusts the authority gets in', async (t) => {
    const ca = await authority.text('ca.pem')
    const { port, taken } = await startFront(t, { settings: { certificates: fallback } })
    const options = { ca, rejectUnauthorized: true }
    await secure(t, port, { ...options, servername: 'localhost' })
    await rejects(
      secure(t, port, { ...options, servername: 'other.example.org' }),
      /ERR_TLS_CERT_ALTNAME_INVALID|altnames/,
    )
    await until('the first', () => taken.length > 0)
    equal(taken[0]?.facts.tls.serverName, 'localhost')
  })
})
