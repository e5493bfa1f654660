import 'reflect-metadata'
import { createHash, webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'

export interface Devices {
  /** PEM of the authority that signed all of them. */
  readonly authority: string
  readonly server: { readonly certificate: string; readonly key: string }
  /** PEM of the key that all devices share: what a handshake costs is the same, and 2,000 keys are made in no time. */
  readonly key: string
  readonly certificates: readonly { readonly name: string; readonly pem: string; readonly fingerprint: string }[]
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const days = 24 * 60 * 60 * 1_000

/** An authority, a server certificate for localhost, and certificates of `count` devices, all P-256. */
export async function makeDevices(count: number): Promise<Devices> {
  x509.cryptoProvider.set(webcrypto)
  const [ca, server, device] = await Promise.all([newKeys(), newKeys(), newKeys()])
  const notBefore = new Date(Date.now() - days)
  const notAfter = new Date(Date.now() + 30 * days)
  const common = { notBefore, notAfter, signingAlgorithm: algorithm, signingKey: ca.privateKey }
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    ...common,
    serialNumber: '01',
    name: 'CN=Bench CA',
    keys: ca,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  })
  const sign = (serialNumber: string, subject: string, publicKey: CryptoKey, extensions: x509.Extension[]) =>
    x509.X509CertificateGenerator.create({
      ...common,
      serialNumber,
      subject,
      publicKey,
      issuer: authority.subject,
      extensions,
    })
  const own = await sign('02', 'CN=localhost', server.publicKey, [
    new x509.SubjectAlternativeNameExtension([
      { type: 'dns', value: 'localhost' },
      { type: 'ip', value: '127.0.0.1' },
    ]),
  ])
  const certificates: { name: string; pem: string; fingerprint: string }[] = []
  for (let index = 0; index < count; index += 1) {
    const name = `d-${index}`
    const certificate = await sign((0x10_00 + index).toString(16).padStart(8, '0'), `CN=${name}`, device.publicKey, [
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
    ])
    const fingerprint = createHash('sha256').update(new Uint8Array(certificate.rawData)).digest('hex')
    certificates.push({ name, pem: certificate.toString('pem'), fingerprint })
  }
  return {
    authority: authority.toString('pem'),
    server: { certificate: own.toString('pem'), key: await pemOf(server.privateKey) },
    key: await pemOf(device.privateKey),
    certificates,
  }
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
}

async function pemOf(key: CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key))
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`
}
