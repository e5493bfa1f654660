import { hash, verify, type X509Certificate } from 'node:crypto'
import { asn1 } from './asn1.ts'
import { type AuthorityCertificate, signatureAlgorithms, type Unfit } from './certificate.ts'

/** A list of revoked certificates whose signature has been verified. */
export interface RevocationList {
  /** Serial numbers in hex, as `ReadCertificate.serial`. */
  readonly revoked: ReadonlySet<string>
  /** Milliseconds since 1970. */
  readonly thisUpdate: number
  /** When the next one was promised for; absent where none was. */
  readonly nextUpdate: number | undefined
}

/** About 100,000 certificates. Reading takes about 45 µs for each, once. */
const maxCrlBytes = 4 * 1024 * 1024

/** How large a DER that has passed the bound above may be inside; the library's own bounds are for one certificate. */
const berOptions = { maxNodes: 10_000_000, maxContentLength: maxCrlBytes }

/** By the SHA-256 of CRL and authority: a reload reads only what has changed. */
const known = new Map<string, RevocationList | Unfit>()
const listsKept = 32

/** Reads a CRL in PEM and verifies that this authority has signed it. Never throws. */
export function readRevocationList(pem: string, authority: AuthorityCertificate): RevocationList | Unfit {
  const key = hash('sha256', `${authority.fingerprint} ${pem}`)
  let list = known.get(key)
  if (list === undefined) {
    list = read(pem, authority)
    if (known.size >= listsKept) known.clear()
    known.set(key, list)
  }
  return list
}

function read(pem: string, authority: AuthorityCertificate): RevocationList | Unfit {
  const blocks = [...pem.matchAll(/-----BEGIN X509 CRL-----(?<base64>[^-]*)-----END X509 CRL-----/g)]
  const der = Buffer.from(blocks[0]?.groups?.['base64'] ?? '', 'base64')
  if (blocks.length !== 1) return { problem: 'it must hold one CRL in PEM' }
  if (der.length > maxCrlBytes) return { problem: `it is longer than ${maxCrlBytes} bytes` }
  try {
    return readDer(der, authority.x509)
  } catch {
    return { problem: 'it cannot be read' }
  }
}

function readDer(der: Buffer, authority: X509Certificate): RevocationList | Unfit {
  const { AsnConvert, Certificate, CertificateList } = asn1()
  const { tbsCertList, tbsCertListRaw, signatureAlgorithm, signature } = AsnConvert.parse(der, CertificateList, {
    berOptions,
  })
  const { issuer, thisUpdate, nextUpdate, revokedCertificates = [], crlExtensions = [] } = tbsCertList
  const { subject } = AsnConvert.parse(authority.raw, Certificate).tbsCertificate
  const bytesOf = (value: unknown) => Buffer.from(AsnConvert.serialize(value))
  if (!bytesOf(issuer).equals(bytesOf(subject))) return { problem: 'another authority has issued it' }
  // A delta CRL, one for some reasons or some certificates only, an indirect one: all of them are marked as critical.
  const all = [...crlExtensions, ...revokedCertificates.flatMap((entry) => entry.crlEntryExtensions ?? [])]
  const critical = all.find((extension) => extension.critical)
  if (critical !== undefined)
    return { problem: `it has the critical extension ${critical.extnID}; make a full CRL of this authority` }
  const digest = signatureAlgorithms.get(signatureAlgorithm.algorithm)
  if (digest === undefined || signatureAlgorithm.algorithm !== tbsCertList.signature.algorithm)
    return { problem: `it is signed with ${signatureAlgorithm.algorithm}, which is not accepted; use SHA-256` }
  if (
    tbsCertListRaw === undefined ||
    !verify(digest, Buffer.from(tbsCertListRaw), authority.publicKey, Buffer.from(signature))
  )
    return { problem: 'its signature is not of this authority' }
  return {
    revoked: new Set(revokedCertificates.map(({ userCertificate }) => Buffer.from(userCertificate).toString('hex'))),
    thisUpdate: thisUpdate.getTime().getTime(),
    nextUpdate: nextUpdate?.getTime().getTime(),
  }
}
