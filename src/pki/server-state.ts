import type { X509Certificate } from 'node:crypto'
import { readCertificate } from './authority-certificate.ts'
import { fingerprintOf } from './fingerprint.ts'
import { isThere, readIfThere } from './files.ts'
import { belongTogether, readKey } from './key.ts'
import type { Ledger } from './ledger.ts'
import type { HostName } from './names.ts'
import type { Pair, PkiPaths, ServerKind } from './paths.ts'

/** A server certificate of Sluice's own, looked at. */
export interface ServerState {
  readonly which: ServerKind
  readonly pair: Pair
  /** Why a new one is to be made; absent: it stays. */
  readonly due?: string
  /** It can be used until it is made anew. */
  readonly usable: boolean
  /** Its key must not be used again. */
  readonly keyRevoked?: true
  /** What a person should know about it: not made here, and ending. */
  readonly attention?: string
  readonly certificate?: X509Certificate
}

export const serverKinds: readonly ServerKind[] = ['server-ec', 'server-rsa']

/** A server certificate with less time left than this is made anew. */
const renewWithin = 30 * 86_400_000

/** Reads, and changes nothing. `covering`: names that it must be valid for, or be made anew. Throws SluiceError WRONG_USE. */
export async function serverState(
  paths: PkiPaths,
  ledger: Ledger,
  which: ServerKind,
  covering: readonly HostName[],
): Promise<ServerState> {
  const pair = paths.servers[which]
  const pem = await readIfThere(pair.certificate)
  if (pem === undefined) return { which, pair, usable: false, due: 'it is missing' }
  const certificate = readCertificate(pem)
  const left = certificate === undefined ? 0 : certificate.validToDate.getTime() - Date.now()
  const fingerprint = certificate === undefined ? undefined : fingerprintOf(certificate)
  const entry = ledger.certificates.find((candidate) => candidate.fingerprint === fingerprint)
  if (certificate === undefined || entry === undefined) {
    // Somebody has put their own there: that is theirs to renew.
    const ends = certificate === undefined ? 'is no certificate' : `ends on ${certificate.validTo}`
    const attention = `${pair.certificate} was not made here and ${ends}; put a newer one there, or delete it to have one made`
    return { which, pair, usable: left > 0, ...(left < renewWithin && { attention }) }
  }
  const found = { which, pair, certificate }
  if (entry.revokedAt !== undefined) return { ...found, usable: false, due: 'it is revoked', keyRevoked: true }
  if (!(await isThere(pair.key))) return { ...found, usable: false, due: 'its key is missing' }
  const key = await readKey(pair.key)
  if (key === undefined || !belongTogether(certificate, key))
    return { ...found, usable: false, due: 'its key is another one' }
  if (left < renewWithin) return { ...found, usable: left > 0, due: 'it ends soon' }
  const uncovered = covering.find(({ type, value }) => !covers(certificate, type, value))
  if (uncovered !== undefined) return { ...found, usable: true, due: `it is not for ${uncovered.value}` }
  return { ...found, usable: true }
}

function covers(certificate: X509Certificate, type: HostName['type'], value: string): boolean {
  if (type === 'ip') return certificate.checkIP(value) !== undefined
  // A wildcard covers itself, which no check of a host says.
  if (certificate.subjectAltName?.split(', ').includes(`DNS:${value}`) === true) return true
  return certificate.checkHost(value, { subject: 'never' }) !== undefined
}
