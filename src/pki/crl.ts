import { SluiceError } from '../core/errors.ts'
import type { Authority } from './authority.ts'
import { day } from './certificate.ts'
import { readableByAll, readIfThere, writeWhole } from './files.ts'
import { type Ledger, writeLedger } from './ledger.ts'
import type { PkiPaths } from './paths.ts'
import { withPki } from './session.ts'
import { Extension, PemConverter, X509Crl, X509CrlGenerator } from './x509.ts'

const crlDays = 30

export interface MadeCrl {
  readonly file: string
  readonly pem: string
  readonly number: bigint
  readonly revoked: number
  readonly nextUpdate: Date
}

/** RFC 5280 §5.2.3. */
const crlNumberType = '2.5.29.20'

interface Revoked {
  readonly serialNumber: string
  readonly revocationDate: Date
}

/** Makes the list anew from the ledger, with the next update in 30 days, and writes it. Throws SluiceError WRONG_USE. */
export function makeCrl(folder: string): Promise<MadeCrl> {
  return withPki(folder, async ({ paths, authority, ledger }) => {
    const made = await writeCrl(paths, authority, ledger)
    await writeLedger(paths, { ...ledger, crlUntil: made.nextUpdate.toISOString() })
    return made
  })
}

/**
 * What was once revoked stays so: entries of the list that is there are kept, even where the ledger, from an older backup perhaps,
 * doesn't have them. Callers hold the lock.
 */
export async function writeCrl(paths: PkiPaths, authority: Authority, ledger: Ledger): Promise<MadeCrl> {
  const before = await readCrl(paths, authority)
  const entries = new Map<string, Revoked>()
  for (const { serialNumber, revocationDate } of before?.entries ?? [])
    entries.set(serialNumber, { serialNumber, revocationDate })
  for (const { serial, revokedAt } of ledger.certificates)
    if (revokedAt !== undefined) entries.set(serial, { serialNumber: serial, revocationDate: wholeSecond(revokedAt) })

  const now = new Date()
  const nextUpdate = new Date(Math.min(now.getTime() + crlDays * day, authority.certificate.validToDate.getTime()))
  // Growing, as it must, without a count that a lost ledger would set back.
  const number = max(BigInt(now.getTime()), (before?.number ?? 0n) + 1n)
  const crl = await X509CrlGenerator.create({
    issuer: authority.decoded.subjectName,
    thisUpdate: now,
    nextUpdate,
    // The library writes an empty list of extensions where there are none, which RFC 5280 doesn't allow: this one is true in any case.
    entries: [...entries.values()].map((entry) => ({ ...entry, invalidity: entry.revocationDate })),
    extensions: [authority.identifier, new Extension(crlNumberType, false, integer(number))],
    signingKey: authority.signingKey,
    signingAlgorithm: authority.signingAlgorithm,
  })
  const pem = `${PemConverter.encode(crl.rawData, 'X509 CRL')}\n`
  await writeWhole(paths.crl, pem, readableByAll)
  return { file: paths.crl, pem, number, revoked: entries.size, nextUpdate }
}

/** The list that is there. Throws SluiceError WRONG_USE where it isn't this CA's: it is not made anew without what it held. */
async function readCrl(
  { crl: path }: PkiPaths,
  authority: Authority,
): Promise<{ entries: readonly Revoked[]; number: bigint } | undefined> {
  const pem = await readIfThere(path)
  if (pem === undefined) return undefined
  let crl: X509Crl | undefined
  try {
    crl = new X509Crl(pem)
    if (!(await crl.verify({ publicKey: authority.decoded }))) crl = undefined
  } catch {
    crl = undefined
  }
  if (crl === undefined)
    throw new SluiceError(
      'WRONG_USE',
      `${path} is not a certificate revocation list of this CA; move it away, and what the ledger has as revoked is listed anew`,
    )
  const value = crl.getExtension(crlNumberType)?.value
  // The content of a DER integer follows its tag and length.
  const hex = value === undefined ? '' : Buffer.from(value).subarray(2).toString('hex')
  return { entries: crl.entries, number: hex === '' ? 0n : BigInt(`0x${hex}`) }
}

/** Times of certificates and CRLs have no fractions (RFC 5280 §4.1.2.5.2). */
function wholeSecond(time: string): Date {
  const date = new Date(time)
  date.setUTCMilliseconds(0)
  return date
}

/** A positive DER integer. */
function integer(value: bigint): Buffer {
  const hex = value.toString(16)
  const even = hex.length % 2 === 0 ? hex : `0${hex}`
  const bytes = Buffer.from(Number.parseInt(even.slice(0, 2), 16) > 0x7f ? `00${even}` : even, 'hex')
  return Buffer.from([0x02, bytes.length, ...bytes])
}

function max(one: bigint, other: bigint): bigint {
  return one > other ? one : other
}
