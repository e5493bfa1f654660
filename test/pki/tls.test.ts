import { deepEqual, equal } from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { connect, type ConnectionOptions, createServer, type TLSSocket } from 'node:tls'
import { ensurePki } from '../../src/pki/ensure.ts'
import { issueDevice, type Issued, issueServer } from '../../src/pki/issue.ts'
import { revoke } from '../../src/pki/revoke.ts'
import { type Scope, temporaryFolder } from '../support/cleanup.ts'
import { suiteScope } from '../support/command.ts'

type Pair = Pick<Issued, 'certificate' | 'key'>

async function newPki(scope: Scope): Promise<string> {
  const folder = join(await temporaryFolder(scope), 'pki')
  await ensurePki(folder)
  return folder
}

describe('TLS with certificates on both sides', () => {
  const scope = suiteScope()
  let folder = ''
  let device: Issued
  let server: Issued
  before(async () => {
    folder = await newPki(scope)
    device = await issueDevice(folder, { name: 'd' })
    server = await issueServer(folder, { name: 's.example' })
  })

  interface Shake {
    /** The suite and the server's kind of key, or the error. */
    readonly client: string
    /** Who the client is, or why it isn't anybody. */
    readonly server: string
  }

  const pem = ({ certificate, key = '' }: Pair) => Promise.all([readFile(certificate), readFile(key)])

  /** One handshake, with Sluice's own certificates of both kinds unless the server's are said. */
  async function shake(
    client: Pair | undefined,
    options: ConnectionOptions = {},
    { own, crl }: { own?: Pair; crl?: string } = {},
  ): Promise<Shake> {
    const pair = (name: string) => ({ certificate: join(folder, `${name}.pem`), key: join(folder, `${name}.key`) })
    const pairs = await Promise.all((own === undefined ? ['server-ec', 'server-rsa'].map(pair) : [own]).map(pem))
    const ca = await readFile(join(folder, 'ca.pem'))
    const listener = createServer({
      cert: pairs.map(([cert]) => cert),
      key: pairs.map(([, key]) => key),
      ca,
      ciphers: 'ALL',
      requestCert: true,
      // So that the server can say why.
      rejectUnauthorized: false,
      ...(crl !== undefined && { crl }),
    })
    let seen = ''
    listener.on('secureConnection', (socket: TLSSocket) => {
      const name = socket.authorized ? String(socket.getPeerCertificate().subject.CN) : ''
      seen = socket.authorized ? `client ${name}` : String(socket.authorizationError)
      socket.on('error', () => {}).end('.')
    })
    listener.listen(0, '127.0.0.1')
    await once(listener, 'listening')
    const { port } = listener.address() as AddressInfo
    const [cert, key] = client === undefined ? [] : await pem(client)
    const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', ca, cert, key, ...options })
    const ended = new Promise((resolve) => socket.once('close', resolve))
    const said = await once(socket, 'secureConnect').then(
      () => `${socket.getCipher().name} ${socket.getPeerX509Certificate()?.publicKey.asymmetricKeyType}`,
      (error: NodeJS.ErrnoException) => error.code ?? 'error',
    )
    socket.on('error', () => {}).resume()
    await ended
    await new Promise((resolve) => listener.close(resolve))
    return { client: said, server: seen }
  }

  test('a device comes in, by name and by address', async () => {
    equal((await shake(device)).server, 'client d')
    equal((await shake(device, { servername: '' })).server, 'client d')
    const [certificate, key] = ['demo.pem', 'demo.key'].map((name) => join(folder, 'devices', name))
    equal((await shake({ certificate: certificate ?? '', key: key ?? '' })).server, 'client demo')
  })

  for (const [ciphers, expected] of [
    ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES128-GCM-SHA256 ec'],
    ['ECDHE-RSA-AES128-GCM-SHA256', 'ECDHE-RSA-AES128-GCM-SHA256 rsa'],
    ['AES128-GCM-SHA256', 'AES128-GCM-SHA256 rsa'],
  ] as const)
    test(`${ciphers} is served`, async () => {
      deepEqual(await shake(device, { ciphers, maxVersion: 'TLSv1.2' }), { client: expected, server: 'client d' })
    })

  test('nobody else comes in', async () => {
    equal((await shake(undefined)).server, 'UNABLE_TO_GET_ISSUER_CERT')
    const other = await issueDevice(await newPki(scope), { name: 'd' })
    equal((await shake(other)).server, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')
    equal((await shake(server)).server, 'INVALID_PURPOSE')
  })

  test('a device is no server, and a server only for its names', async () => {
    equal((await shake(device, {}, { own: device })).client, 'INVALID_PURPOSE')
    equal((await shake(device, { servername: 's.example' }, { own: server })).server, 'client d')
    equal((await shake(device, {}, { own: server })).client, 'ERR_TLS_CERT_ALTNAME_INVALID')
  })

  test('a revoked device is out where the list is looked at', async () => {
    const lost = await issueDevice(folder, { name: 'lost' })
    const { crl } = await revoke(folder, 'lost')
    equal((await shake(lost, {}, { crl: crl.pem })).server, 'CERT_REVOKED')
    equal((await shake(device, {}, { crl: crl.pem })).server, 'client d')
  })
})
