import { SluiceError } from '../core/errors.ts'
import { fingerprintOf } from './fingerprint.ts'
import { readCertificate } from './authority-certificate.ts'
import { isThere, readIfThere } from './files.ts'
import { hasEnded, type Ledger } from './ledger.ts'
import type { CertificateKind, Pair } from './paths.ts'

/**
 * Whether a certificate may be written for a name: its files aren't there, or they hold one of the very same name that is revoked or has
 * ended. Two names can share a file name (`a:b` and `a_b`; on some systems `A` and `a`), so what counts is what the file holds. Throws
 * SluiceError WRONG_USE with what to do.
 */
export async function requireRoom(ledger: Ledger, kind: CertificateKind, name: string, pair: Pair): Promise<void> {
  const pem = await readIfThere(pair.certificate)
  if (pem === undefined) {
    if (!(await isThere(pair.key))) return
    // It may be the key of a certificate that was revoked and deleted: it is not used again.
    throw new SluiceError('WRONG_USE', `${pair.key} is there without its certificate; delete it, and try again`)
  }
  const certificate = readCertificate(pem)
  const fingerprint = certificate === undefined ? undefined : fingerprintOf(certificate)
  const entry = ledger.certificates.find((candidate) => candidate.fingerprint === fingerprint)
  if (entry === undefined)
    throw new SluiceError('WRONG_USE', `${pair.certificate} is there, and was not issued here; move it away`)
  if (entry.name !== name || entry.kind !== kind)
    throw new SluiceError(
      'WRONG_USE',
      `${pair.certificate} is the certificate of ${entry.name}, which shares a file name with ${name}; choose another name`,
    )
  if (entry.revokedAt !== undefined || hasEnded(entry)) return
  throw new SluiceError(
    'WRONG_USE',
    `${name} has a certificate already, ${pair.certificate}, until ${entry.notAfter.slice(0, 10)}; choose another name, or revoke it first: sluice pki revoke ${entry.fingerprint}`,
  )
}
