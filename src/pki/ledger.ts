import { SluiceError } from '../core/errors.ts'
import { readIfThere, secret, writeWhole } from './files.ts'
import type { CertificateKind, PkiPaths } from './paths.ts'

/** A certificate that this CA has signed. Never a key. */
export interface LedgerEntry {
  /** Lower-case hex, no leading zeros. */
  readonly serial: string
  readonly name: string
  readonly kind: CertificateKind
  /** SHA-256 of the DER, 64 lower-case hex digits: AWS's certificateId. */
  readonly fingerprint: string
  /** ISO 8601, as revokedAt. */
  readonly notAfter: string
  readonly revokedAt?: string
}

/** ledger.json. An entry is written before its certificate: whatever certificate there is can be revoked. */
export interface Ledger {
  readonly version: 1
  /** While the first run is at work; what it has left undone, the next run does. */
  readonly settingUp?: true
  /** When the CRL's next update is due. */
  readonly crlUntil?: string
  readonly certificates: readonly LedgerEntry[]
}

export const emptyLedger: Ledger = { version: 1, certificates: [] }

/** Gives undefined where there is no ledger. Throws SluiceError WRONG_USE for one that is damaged: it is never taken for an empty one. */
export async function readLedger(paths: PkiPaths): Promise<Ledger | undefined> {
  const text = await readIfThere(paths.ledger)
  if (text === undefined) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw damaged(paths, 'it is not JSON', error)
  }
  if (!isRecord(value) || value['version'] !== 1) throw damaged(paths, 'its "version" is not 1')
  const { settingUp, crlUntil, certificates } = value
  if (settingUp !== undefined && settingUp !== true) throw damaged(paths, '"settingUp" is neither absent nor true')
  if (crlUntil !== undefined && !isTime(crlUntil)) throw damaged(paths, '"crlUntil" is not a time')
  if (!Array.isArray(certificates)) throw damaged(paths, '"certificates" is not a list')
  const entries = certificates.map((entry: unknown, index) => {
    if (isEntry(entry)) return entry
    throw damaged(paths, `certificates[${index}] is not an entry`)
  })
  return {
    version: 1,
    ...(settingUp === true && { settingUp }),
    ...(isTime(crlUntil) && { crlUntil }),
    certificates: entries,
  }
}

export async function writeLedger(paths: PkiPaths, ledger: Ledger): Promise<void> {
  await writeWhole(paths.ledger, `${JSON.stringify(ledger, undefined, 2)}\n`, secret)
}

export function withEntry(ledger: Ledger, entry: LedgerEntry): Ledger {
  return { ...ledger, certificates: [...ledger.certificates, entry] }
}

export function hasEnded(entry: LedgerEntry, now: number = Date.now()): boolean {
  return Date.parse(entry.notAfter) <= now
}

function isEntry(value: unknown): value is LedgerEntry {
  if (!isRecord(value)) return false
  const { serial, name, kind, fingerprint, notAfter, revokedAt } = value
  return (
    isHex(serial, /^[1-9a-f][0-9a-f]{0,39}$/) &&
    typeof name === 'string' &&
    (kind === 'device' || kind === 'server') &&
    isHex(fingerprint, /^[0-9a-f]{64}$/) &&
    isTime(notAfter) &&
    (revokedAt === undefined || isTime(revokedAt))
  )
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isHex(value: unknown, pattern: RegExp): boolean {
  return typeof value === 'string' && pattern.test(value)
}

function isTime(value: unknown): value is string {
  return typeof value === 'string' && !Number.isNaN(Date.parse(value))
}

function damaged({ ledger }: PkiPaths, because: string, cause?: unknown): SluiceError {
  return new SluiceError('WRONG_USE', `${ledger} is damaged: ${because}. Put a backup of it in its place`, { cause })
}
