import { type KeyObject, randomBytes, webcrypto, X509Certificate } from 'node:crypto'
import type { Authority } from './authority.ts'
import { fingerprintOf } from './fingerprint.ts'
import { kindOf, publicKeyDer } from './key.ts'
import type { HostName } from './names.ts'
import type { CertificateKind } from './paths.ts'
import { encodedSubject, type Subject } from './subject.ts'
import {
  BasicConstraintsExtension,
  type Extension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type JsonGeneralNames,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from './x509.ts'

export const day = 86_400_000

/** Clocks of devices are a little off: a certificate is valid from this long ago. */
const clockSlack = 300_000

const authorityDays = 3650

export interface LeafOptions {
  readonly kind: CertificateKind
  readonly subject: Subject
  /** Entries of subjectAltName; for a server the names that it is valid for. */
  readonly names: JsonGeneralNames | readonly HostName[]
  /** The key that is certified: its public half, or both. */
  readonly key: KeyObject
  readonly notAfter: Date
}

export interface MadeCertificate {
  readonly pem: string
  readonly serial: string
  /** SHA-256 of the DER, 64 lower-case hex digits. */
  readonly fingerprint: string
  readonly notAfter: Date
}

/** A CA of its own (RFC 5280 §4.2.1): signs certificates and CRLs, and no other CA. Gives PEM. */
export async function makeAuthorityCertificate(key: KeyObject): Promise<string> {
  const publicKey = publicKeyDer(key)
  // Two installations differ in it, so that a client that trusts both picks the right one.
  const subject = new Name(
    encodedSubject([{ type: '2.5.4.3', value: `Sluice local CA ${randomBytes(4).toString('hex')}` }]),
  )
  const der = key.export({ type: 'pkcs8', format: 'der' })
  const parameters = { name: 'ECDSA', namedCurve: 'P-256' }
  const made = await X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject,
    issuer: subject,
    notBefore: new Date(Date.now() - clockSlack),
    notAfter: new Date(Date.now() + authorityDays * day),
    publicKey,
    signingKey: await webcrypto.subtle.importKey('pkcs8', der, parameters, false, ['sign']),
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' } as EcdsaAlgorithm,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(publicKey),
    ],
  })
  return `${made.toString('pem')}\n`
}

interface EcdsaAlgorithm {
  readonly name: string
  readonly hash: string
}

/** Signs a certificate that is no CA, for one use. It is checked before anybody sees it. */
export async function signLeaf(authority: Authority, leaf: LeafOptions): Promise<MadeCertificate> {
  const publicKey = publicKeyDer(leaf.key)
  const server = leaf.kind === 'server'
  // TLS 1.2 with a static RSA key exchange, which AWS's policies have, enciphers with the server's key.
  const enciphers = server && kindOf(leaf.key) === 'rsa'
  const usage = enciphers
    ? new KeyUsagesExtension(KeyUsageFlags.digitalSignature | KeyUsageFlags.keyEncipherment, true)
    : new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true)
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    usage,
    new ExtendedKeyUsageExtension([server ? ExtendedKeyUsage.serverAuth : ExtendedKeyUsage.clientAuth]),
    await SubjectKeyIdentifierExtension.create(publicKey),
    authority.identifier,
  ]
  if (leaf.names.length > 0) extensions.push(new SubjectAlternativeNameExtension([...leaf.names]))
  const serial = newSerial()
  const made = await X509CertificateGenerator.create({
    serialNumber: serial,
    subject: new Name(encodedSubject(leaf.subject)),
    issuer: authority.decoded.subjectName,
    notBefore: new Date(Date.now() - clockSlack),
    notAfter: leaf.notAfter,
    publicKey,
    signingKey: authority.signingKey,
    signingAlgorithm: authority.signingAlgorithm,
    extensions,
  })
  const pem = `${made.toString('pem')}\n`
  const read = new X509Certificate(pem)
  const asMeant =
    read.checkIssued(authority.certificate) &&
    read.verify(authority.certificate.publicKey) &&
    read.serialNumber.toLowerCase() === serial &&
    publicKeyDer(read.publicKey).equals(publicKey)
  if (!asMeant) throw new Error('a certificate was made that is not the one that was meant')
  return { pem, serial, fingerprint: fingerprintOf(read), notAfter: read.validToDate }
}

/** 128 random bits (RFC 5280 §4.1.2.2 allows 159), and no leading zeros, so that it has one spelling. */
function newSerial(): string {
  for (;;) {
    const serial = randomBytes(16).toString('hex')
    if (!serial.startsWith('0')) return serial
  }
}
