import { hash, type KeyObject, X509Certificate } from 'node:crypto'
import type { Certificate, Extension } from '@peculiar/asn1-x509'
import type { CertificateFacts } from '../../core/certificate.ts'
import { messageOf } from '../../core/errors.ts'
import { asn1 } from './asn1.ts'
import { AmbiguousName, nameFacts } from './names.ts'

/** Longest certificate that is looked at, in bytes of DER: three times what the largest RSA keys and names need. */
export const maxCertificateBytes = 16 * 1024

/** RSA below is breakable (AWS, "Device certificate key quality"); above, each signature costs us milliseconds. */
const rsaBits = { min: 2048, max: 8192 }

/** AWS's curves. */
const curves = ['prime256v1', 'secp384r1', 'secp521r1']

/**
 * AWS's signing algorithms without DSA, and the Edwards curves: no MD5, no SHA-1, and no RSASSA-PSS, whose hash stands in parameters and
 * is SHA-1 where it is left out.
 */
export const signatureAlgorithms: ReadonlyMap<string, string | null> = new Map([
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
  ['1.3.101.112', null], // Ed25519 and Ed448 hash by themselves
  ['1.3.101.113', null],
])

const oid = {
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  issuerAlternativeName: '2.5.29.18',
  basicConstraints: '2.5.29.19',
  extendedKeyUsage: '2.5.29.37',
  clientAuth: '1.3.6.1.5.5.7.3.2',
}

/** Extensions that may be critical, because they are looked at here or ask nothing of us (certificate policies). */
const understood = new Set([
  oid.keyUsage,
  oid.subjectAlternativeName,
  oid.issuerAlternativeName,
  oid.basicConstraints,
  oid.extendedKeyUsage,
  '2.5.29.14',
  '2.5.29.32',
  '2.5.29.35',
])

/** A certificate that is fit for what it is shown for; nothing is said yet about who issued it or whether it is valid now. */
export interface ReadCertificate {
  /** SHA-256 of the DER, 64 lower-case hex digits. */
  readonly fingerprint: string
  readonly x509: X509Certificate
  /** In milliseconds since 1970. NaN where the date is none. */
  readonly notBefore: number
  readonly notAfter: number
  /** The bytes of the serial number in hex, as a CRL has them. */
  readonly serial: string
}

/** A certificate for a client. */
export interface ClientCertificate extends ReadCertificate {
  readonly facts: CertificateFacts
}

/** A certificate that may sign others. */
export interface AuthorityCertificate extends ReadCertificate {
  /** How many intermediates may stand below it. */
  readonly room: number
}

/** What is wrong with a certificate, for a log or a person; it says nothing that is secret. */
export interface Unfit {
  readonly problem: string
}

/** SHA-256 of the DER: the certificate's id (AWS: certificateId), 64 lower-case hex digits. */
export function fingerprintOf(der: Buffer): string {
  return hash('sha256', der, 'hex')
}

/** DER of the one certificate in a PEM text. */
export function certificateInPem(pem: string): Buffer | Unfit {
  const blocks = pem.match(/-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]*-----END/g) ?? []
  const [block] = blocks
  if (block === undefined) return { problem: 'there is no certificate in it' }
  if (blocks.length > 1) return { problem: 'there are several certificates in it; leave the one that is meant' }
  try {
    return new X509Certificate(pem.slice(pem.indexOf(block))).raw
  } catch {
    return { problem: 'the certificate in it cannot be read' }
  }
}

/** Reads what a client has shown. Never throws, whatever the bytes are. */
export function readClientCertificate(der: Buffer): ClientCertificate | Unfit {
  return guarded(() => {
    const { read, parsed, extensions } = readAny(der)
    const { AsnConvert, BasicConstraints, ExtendedKeyUsage } = asn1()
    const constraints = extensions.get(oid.basicConstraints)
    if (constraints !== undefined && AsnConvert.parse(constraints.extnValue, BasicConstraints).cA)
      throw new Flaw('it is the certificate of an authority (CA:TRUE), not of a client')
    const purposes = extensions.get(oid.extendedKeyUsage)
    if (purposes !== undefined && !AsnConvert.parse(purposes.extnValue, ExtendedKeyUsage).includes(oid.clientAuth))
      throw new Flaw('its extended key usage does not have clientAuth')
    // RFC 5246 §7.4.6: a client signs in the handshake.
    if (!allows(extensions, asn1().KeyUsageFlags.digitalSignature))
      throw new Flaw('its key usage does not have digitalSignature')
    return { ...read, facts: factsOf(read, parsed, extensions) }
  })
}

/** Reads the certificate of an authority: registered, or an intermediate that a client has shown. Never throws. */
export function readAuthorityCertificate(der: Buffer): AuthorityCertificate | Unfit {
  return guarded(() => {
    const { read, extensions } = readAny(der)
    const { AsnConvert, BasicConstraints, KeyUsageFlags } = asn1()
    const extension = extensions.get(oid.basicConstraints)
    const constraints = extension && AsnConvert.parse(extension.extnValue, BasicConstraints)
    if (constraints?.cA !== true) throw new Flaw('it is not the certificate of an authority (CA:TRUE)')
    if (!allows(extensions, KeyUsageFlags.keyCertSign)) throw new Flaw('its key usage does not have keyCertSign')
    return { ...read, room: constraints.pathLenConstraint ?? Infinity }
  })
}

class Flaw extends Error {}

function guarded<Value>(read: () => Value): Value | Unfit {
  try {
    return read()
  } catch (error) {
    if (error instanceof Flaw || error instanceof AmbiguousName) return { problem: messageOf(error) }
    return { problem: 'it cannot be read' }
  }
}

type Extensions = ReadonlyMap<string, Extension>

function readAny(der: Buffer): {
  readonly read: ReadCertificate
  readonly parsed: Certificate
  readonly extensions: Extensions
} {
  if (der.length > maxCertificateBytes) throw new Flaw(`it is longer than ${maxCertificateBytes} bytes`)
  const x509 = new X509Certificate(der)
  // PEM is taken there too, and what follows after the certificate is left alone: neither is what was proved.
  if (!x509.raw.equals(der)) throw new Flaw('it is not the DER of one certificate')
  const { publicKey, signatureAlgorithmOid } = x509
  const weakness = weaknessOf(publicKey)
  if (weakness !== undefined) throw new Flaw(weakness)
  if (!signatureAlgorithms.has(signatureAlgorithmOid))
    throw new Flaw(`it is signed with ${x509.signatureAlgorithm ?? signatureAlgorithmOid}, which is not accepted`)
  const { AsnConvert, Certificate } = asn1()
  const parsed = AsnConvert.parse(der, Certificate)
  const read: ReadCertificate = {
    fingerprint: fingerprintOf(der),
    x509,
    notBefore: x509.validFromDate.getTime(),
    notAfter: x509.validToDate.getTime(),
    serial: Buffer.from(parsed.tbsCertificate.serialNumber).toString('hex'),
  }
  return { read, parsed, extensions: extensionsOf(parsed) }
}

function weaknessOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string | undefined {
  switch (asymmetricKeyType) {
    case 'rsa': {
      const bits = asymmetricKeyDetails?.modulusLength ?? 0
      if (bits >= rsaBits.min && bits <= rsaBits.max) return undefined
      return `its RSA key has ${bits} bits; ${rsaBits.min} to ${rsaBits.max} are accepted`
    }
    case 'ec': {
      const curve = asymmetricKeyDetails?.namedCurve ?? 'unnamed'
      return curves.includes(curve) ? undefined : `its key is on the curve ${curve}; P-256, P-384, P-521 are accepted`
    }
    case 'ed25519':
    case 'ed448':
      return undefined
    default:
      return `its key is of the kind ${String(asymmetricKeyType)}; RSA, EC, Ed25519 and Ed448 are accepted`
  }
}

/** RFC 5280 §4.2: no extension twice, and none that is critical and not understood. */
function extensionsOf({ tbsCertificate }: Certificate): Extensions {
  const found = new Map<string, Extension>()
  for (const extension of tbsCertificate.extensions ?? []) {
    const { extnID, critical } = extension
    if (found.has(extnID)) throw new Flaw(`it has the extension ${extnID} twice`)
    if (critical && !understood.has(extnID))
      throw new Flaw(`it has the critical extension ${extnID}, which is not known`)
    found.set(extnID, extension)
  }
  return found
}

/** Whether the key usage has a bit; a certificate without one may be used for anything. */
function allows(extensions: Extensions, flag: number): boolean {
  const extension = extensions.get(oid.keyUsage)
  if (extension === undefined) return true
  return (asn1().AsnConvert.parse(extension.extnValue, asn1().KeyUsage).toNumber() & flag) !== 0
}

function factsOf({ fingerprint, x509 }: ReadCertificate, { tbsCertificate }: Certificate, extensions: Extensions) {
  const { subject, issuer } = tbsCertificate
  return {
    certificateId: fingerprint,
    serialNumber: x509.serialNumber,
    subject: nameFacts(subject, x509.raw, extensions.get(oid.subjectAlternativeName)),
    issuer: nameFacts(issuer, x509.raw, extensions.get(oid.issuerAlternativeName)),
  }
}

/** Whether a time lies within the certificate's validity, both ends included. */
export function isValidAt({ notBefore, notAfter }: ReadCertificate, now: number): boolean {
  // Dates that are none compare as false.
  return notBefore <= now && now <= notAfter
}
