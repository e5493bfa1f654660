import { X509Certificate } from 'node:crypto'
import type { Authority } from './authorities.ts'
import {
  type AuthorityCertificate,
  isValidAt,
  maxCertificateBytes,
  type ReadCertificate,
  readAuthorityCertificate,
} from './certificate.ts'

/** Intermediates that are looked at; a chain has two or three. */
const chainRead = 8

/** Whether a certificate was issued by another: names, key identifiers and the signature agree. */
export function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
  } catch {
    return false
  }
}

interface Trusted {
  readonly certificate: AuthorityCertificate
  /** Intermediates that may still stand below. */
  readonly room: number
  readonly authority: Authority
}

/**
 * The authorities that a certificate leads up to by intermediates that its client has shown. Nothing that was shown is trusted, or its key
 * used, before its own issuer has vouched for it; an intermediate that is expired or on its authority's CRL vouches for nobody.
 */
export function authoritiesAbove(
  certificate: ReadCertificate,
  shown: readonly Buffer[],
  authorities: readonly Authority[],
  now: number,
): readonly Authority[] {
  const trusted: Trusted[] = authorities
    .filter((authority) => isUsable(authority, now))
    .map((authority) => ({ certificate: authority.certificate, room: authority.certificate.room, authority }))
  // A registered authority speaks for itself: it isn't trusted in another certificate for the same key.
  const open = shown
    .slice(0, chainRead)
    .flatMap(certificateIn)
    .filter((x509) => !authorities.some(({ certificate }) => certificate.x509.publicKey.equals(x509.publicKey)))
  const vouchedFor = new Map(authorities.map((authority) => [authority, new Set<X509Certificate>()]))
  const found = new Set<Authority>()
  // What is appended on the way is looked at in its turn; each once for each authority, so it ends.
  for (const { certificate: issuer, room, authority } of trusted) {
    const isShown = issuer !== authority.certificate
    if (isShown && isIssuedBy(certificate.x509, issuer.x509)) found.add(authority)
    if (room < 1) continue
    for (const x509 of open) {
      const vouched = vouchedFor.get(authority)
      if (vouched === undefined || vouched.has(x509) || !isIssuedBy(x509, issuer.x509)) continue
      vouched.add(x509)
      const below = readAuthorityCertificate(x509.raw)
      if ('problem' in below || !isValidAt(below, now) || (!isShown && isRevokedBy(authority, below))) continue
      trusted.push({ certificate: below, room: Math.min(room - 1, below.room), authority })
    }
  }
  return [...found]
}

/** Whether an authority may still vouch for certificates that are not registered. */
export function isUsable({ status, expired, certificate }: Authority, now: number): boolean {
  return status === 'ACTIVE' && (isValidAt(certificate, now) || (expired === 'accept' && certificate.notBefore <= now))
}

/** Whether a certificate that this authority has issued is on its CRL. */
export function isRevokedBy({ crl }: Authority, { serial }: ReadCertificate): boolean {
  return crl?.revoked.has(serial) === true
}

function certificateIn(der: Buffer): readonly X509Certificate[] {
  if (der.length > maxCertificateBytes) return []
  try {
    return [new X509Certificate(der)]
  } catch {
    return []
  }
}
