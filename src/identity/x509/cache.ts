import { keepNewest } from '../../core/keep-newest.ts'
import type { ClientCertificate } from './certificate.ts'

/** Certificates that are kept: about 2 KB each. */
const certificatesKept = 10_000

/** What was found out about a certificate by reading and verifying; all of it stays true as long as its bytes are the same. */
export interface KnownCertificate {
  readonly certificate: ClientCertificate
  /** Whether an authority has issued it, by the authority's fingerprint. */
  readonly issuedBy: Map<string, boolean>
}

/**
 * Certificates by fingerprint, the least recently used go first. Only those that are registered or of a registered authority are put
 * here: whoever makes certificates by the thousand displaces nobody.
 */
export class CertificateCache {
  readonly #known = new Map<string, KnownCertificate>()

  get(fingerprint: string): KnownCertificate | undefined {
    const known = this.#known.get(fingerprint)
    if (known === undefined) return undefined
    this.#known.delete(fingerprint)
    this.#known.set(fingerprint, known)
    return known
  }

  add(known: KnownCertificate): void {
    this.#known.set(known.certificate.fingerprint, known)
    keepNewest(this.#known, certificatesKept)
  }

  close(): void {
    this.#known.clear()
  }
}
