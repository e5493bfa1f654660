import { SluiceError } from '../core/errors.ts'
import { hasEnded, type LedgerEntry, readLedger } from './ledger.ts'
import { pkiPaths } from './paths.ts'

export type CertificateState = 'valid' | 'ended' | 'revoked'

export interface ListedCertificate extends LedgerEntry {
  readonly state: CertificateState
}

/** Everything that the CA has signed, the oldest first. Needs no key and no lock. Throws SluiceError WRONG_USE where there is no PKI. */
export async function listCertificates(folder: string): Promise<readonly ListedCertificate[]> {
  const ledger = await readLedger(pkiPaths(folder))
  if (ledger === undefined)
    throw new SluiceError('WRONG_USE', `there is no ledger of a PKI in ${folder}; "sluice pki init" makes one`)
  return ledger.certificates.map((entry) => ({ ...entry, state: stateOf(entry) }))
}

export function stateOf(entry: LedgerEntry): CertificateState {
  if (entry.revokedAt !== undefined) return 'revoked'
  return hasEnded(entry) ? 'ended' : 'valid'
}
