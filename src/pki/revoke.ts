import { suggestion } from '../core/nearest.ts'
import { SluiceError } from '../core/errors.ts'
import { type MadeCrl, writeCrl } from './crl.ts'
import { hasEnded, type LedgerEntry, writeLedger } from './ledger.ts'
import { withPki } from './session.ts'

export interface Revocation {
  /** Revoked by this call; empty where all of them were already. */
  readonly revoked: readonly LedgerEntry[]
  readonly before: readonly LedgerEntry[]
  readonly crl: MadeCrl
}

/**
 * Revokes for good what has this fingerprint, or else this serial number, or else all of this name, and makes the CRL anew. Doing it
 * twice is no error. Throws SluiceError WRONG_USE where nothing is meant.
 */
export function revoke(folder: string, target: string): Promise<Revocation> {
  return withPki(folder, async ({ paths, authority, ledger }) => {
    const meant = new Set(find(ledger.certificates, target))
    if (meant.size === 0) {
      const close = suggestion(target, new Set(ledger.certificates.map(({ name }) => name)))
      throw new SluiceError(
        'WRONG_USE',
        `no certificate has the name, serial number or fingerprint ${JSON.stringify(target.slice(0, 140))}${close || '; "sluice pki ls" shows all'}`,
      )
    }
    const revokedAt = new Date().toISOString()
    const revoked: LedgerEntry[] = []
    const certificates = ledger.certificates.map((entry) => {
      if (!meant.has(entry) || entry.revokedAt !== undefined) return entry
      const changed = { ...entry, revokedAt }
      revoked.push(changed)
      return changed
    })
    const changed = { ...ledger, certificates }
    // The list first: it is what others look at, and keeps what it has if the ledger isn't written any more.
    const crl = await writeCrl(paths, authority, changed)
    await writeLedger(paths, { ...changed, crlUntil: crl.nextUpdate.toISOString() })
    return { revoked, before: [...meant].filter((entry) => entry.revokedAt !== undefined), crl }
  })
}

/** A name can look like another certificate's fingerprint, and a fingerprint like nothing else: in this order nobody is hidden. */
function find(certificates: readonly LedgerEntry[], target: string): readonly LedgerEntry[] {
  const hex = target.replaceAll(':', '').toLowerCase()
  const serial = hex.replace(/^0x/, '').replace(/^0+/, '')
  const byFingerprint = certificates.filter((entry) => entry.fingerprint === hex)
  if (byFingerprint.length > 0) return byFingerprint
  const bySerial = certificates.filter((entry) => entry.serial === serial)
  if (bySerial.length > 0) return bySerial
  const byName = certificates.filter((entry) => entry.name === target)
  // What has ended needs no revoking, unless there is nothing else.
  const living = byName.filter((entry) => !hasEnded(entry))
  return living.length > 0 ? living : byName
}
