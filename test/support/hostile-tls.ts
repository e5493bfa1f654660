import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import * as fc from 'fast-check'
import { generate } from 'mqtt-packet'
import { handmadeHello, handmadeMessage, inRecords } from '../ingest/tls/handmade-hello.ts'
import type { MadeAuthority, MadeCertificate } from '../identity/x509-makers.ts'
import { type Attempt, contextOf, type HostileDoor, type Pair } from './hostile.ts'
import type { Lures } from './hostile-lures.ts'
import { frame, upgradeRequest } from './hostile-websocket.ts'
import { cutAnywhere, mutatedBytes } from './hostile-text.ts'
import { connectPacket } from './raw-mqtt.ts'

/** What Node's own client says first. */
export async function realHello(): Promise<Buffer> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = connectTls({ port, host: '127.0.0.1', servername: 'localhost', ALPNProtocols: ['x-amzn-mqtt-ca'] })
  client.on('error', () => {})
  const [socket] = (await once(server, 'connection')) as [Socket]
  const [hello] = (await once(socket, 'data')) as [Buffer]
  client.destroy()
  socket.destroy()
  server.close()
  return hello
}

/** Bytes in place of a ClientHello, on the ports of TLS. */
export function hostileHello(real: Buffer): fc.Arbitrary<Attempt> {
  const bytes = fc.oneof(
    mutatedBytes(real, 6),
    fc
      .tuple(
        fc.constantFrom('localhost', '', '*', 'a'.repeat(300), 'x\0y', '127.0.0.1', 'xn--\xff'),
        fc.integer({ min: 1, max: 300 }),
      )
      .map(([serverName, size]) => inRecords(handmadeMessage({ serverName }), size)),
    fc.uint8Array({ maxLength: 80 }).map((content) => handmadeHello({ serverName: Buffer.from(content) })),
    fc.nat(real.length).map((length) => real.subarray(0, length)),
    fc.uint8Array({ minLength: 1, maxLength: 200 }).map((all) => Buffer.from(all)),
    fc.constantFrom(
      Buffer.from('GET /topics/ok/x HTTP/1.1\r\n\r\n'),
      Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n'),
      Buffer.from(generate(connectPacket('m-1'))),
      Buffer.concat([real, real]),
      Buffer.alloc(100_000, 22),
    ),
  )
  return fc.tuple(fc.constantFrom<HostileDoor[]>('https', 'mqtts'), bytes, fc.nat(9)).chain(([door, all, how]) =>
    cutAnywhere(all).map((chunks) => ({
      kind: 'ClientHello',
      door,
      bare: true,
      chunks: chunks.filter((chunk) => chunk.length > 0),
      complete: false,
      breaksOff: how === 0,
    })),
  )
}

const pemOf = (der: Buffer) =>
  `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replaceAll(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`

/** Changes bytes of a certificate so that OpenSSL still shows it in a handshake: with its own key, and as one. */
function mutatedCertificate({ der, key }: MadeCertificate): fc.Arbitrary<Pair> {
  return fc
    .noBias(
      fc.array(fc.tuple(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 2 }),
    )
    .map((changes) => {
      const changed = Buffer.from(der)
      for (const [at, difference] of changes) changed[at] = der.readUInt8(at) ^ difference
      return { pem: pemOf(changed), key }
    })
    .filter((pair) => {
      try {
        contextOf(pair)
        return true
      } catch {
        return false
      }
    })
}

export interface HostileCertificates {
  /** Good ones, each of another way in, to be spoilt. */
  readonly good: readonly MadeCertificate[]
  /** Those that are wrong as they are. */
  readonly bad: Readonly<Record<string, MadeCertificate>>
}

/** Certificates nobody comes in with. `jitr` registers as pending, `jitp` provisions whoever has a common name that can be one. */
export function hostileCertificates(
  maker: {
    selfSigned(subject: string, extensions: readonly string[]): MadeCertificate
    authority(subject: string): MadeAuthority
  },
  authorities: { readonly fleet: MadeAuthority; readonly jitr: MadeAuthority; readonly jitp: MadeAuthority },
): Readonly<Record<string, MadeCertificate>> {
  const { fleet, jitr, jitp } = authorities
  const extensions = ['extendedKeyUsage=clientAuth']
  const stranger = maker.authority('/CN=Jitp')
  const many = `subjectAltName=${Array.from({ length: 200 }, (_, index) => `DNS:n${index}.example.com`).join(',')}`
  const huge = Array.from({ length: 250 }, (_, index) => `/OU=${String(index).padStart(60, 'u')}`).join('')
  return {
    'an authority of the same name': stranger.issue({ subject: '/CN=d-1', extensions }),
    'self-signed': maker.selfSigned('/CN=good', ['basicConstraints=critical,CA:FALSE']),
    'an authority itself': jitp,
    expired: jitp.issue({ subject: '/CN=d-2', extensions, days: -1 }),
    'not for clients': jitp.issue({ subject: '/CN=d-3', extensions: ['extendedKeyUsage=serverAuth'] }),
    'an authority below': jitp.below('/CN=d-4'),
    'below that': jitp.below('/CN=Below').issue({ subject: '/CN=d-5', extensions }),
    'without a name': jitp.issue({ subject: '/O=none', extensions }),
    'a wildcard as name': jitp.issue({ subject: '/CN=*', extensions }),
    'a variable as name': jitp.issue({ subject: '/CN=${iot:ClientId}', extensions }),
    'a huge subject': jitp.issue({ subject: `${huge}/CN=d-6`, extensions }),
    'pending, with 200 names': jitr.issue({ subject: '/CN=d-7', extensions: [...extensions, many] }),
    'of a stranger, with 200 names': stranger.issue({ subject: '/CN=d-8', extensions: [...extensions, many] }),
    'not registered': fleet.issue({ subject: '/CN=d-9', extensions }),
    'a weak digest': jitp.issue({ subject: '/CN=d-10', extensions, digest: 'sha224' }),
  }
}

/** Handshakes with them, with and without another credential that would be right without the certificate. */
export function certificateAttempt({ good, bad }: HostileCertificates, lures: Lures): fc.Arbitrary<Attempt> {
  const certificate = fc.oneof(
    { weight: 1, arbitrary: fc.constantFrom(...Object.entries(bad)).map(([kind, pair]) => ({ kind, pair })) },
    {
      weight: 2,
      arbitrary: fc
        .constantFrom(...good)
        .chain((one) => mutatedCertificate(one).map((pair) => ({ kind: 'mutated', pair }))),
    },
  )
  const door = fc.constantFrom('https' as const, 'mqtts' as const, 'wss' as const)
  return fc.tuple(certificate, door, fc.boolean()).map(([{ kind, pair }, at, withToken]) => ({
    kind: `certificate: ${kind}${withToken ? ', beside a right token' : ''}`,
    door: at,
    certificate: pair,
    chunks: [spoken(at, withToken ? lures.token : undefined)],
    complete: true,
  }))
}

/** What comes in with a certificate that is good, or with the token where there is none. */
function spoken(door: 'https' | 'mqtts' | 'wss', token: string | undefined): Buffer {
  const bearer = token === undefined ? [] : [`Authorization: Bearer ${token}`]
  const connect = Buffer.from(
    generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      clientId: 'm-1',
      keepalive: 60,
      ...(token !== undefined && { username: 'tok', password: Buffer.from(token) }),
    }),
  )
  if (door === 'mqtts') return connect
  if (door === 'wss') return Buffer.concat([upgradeRequest(bearer), frame({ opcode: 2, payload: connect })])
  const lines = [
    'POST /topics/ok/x HTTP/1.1',
    'Host: x',
    ...bearer,
    'Content-Length: 7',
    'Connection: close',
    '',
    'hostile',
  ]
  return Buffer.from(lines.join('\r\n'))
}
