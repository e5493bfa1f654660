import { join } from 'node:path'
import { readCertificate } from './authority-certificate.ts'
import { isThere, othersMayRead, readIfThere } from './files.ts'
import { fingerprintOf } from './fingerprint.ts'
import type { Ledger } from './ledger.ts'
import { stateOf } from './list.ts'
import { lockFile, withLock } from './lock.ts'
import { type Findings, isComplete, lookAt, type Wishes } from './look.ts'
import { distinct, namesOfThisMachine, readHostNames } from './names.ts'
import { demoName, pkiPaths, type PkiPaths, type ServerKind } from './paths.ts'

export interface EnsureOptions {
  /** Names and addresses of Sluice's server certificates, beside localhost, 127.0.0.1, ::1 and this machine's host name. */
  readonly hostNames?: readonly string[]
  /** Makes server certificates anew that aren't for all of `hostNames`; otherwise those come in with the next renewal. */
  readonly renewForNames?: boolean
}

export interface EnsuredPki {
  /** This call has made, or finished making, a new PKI: it was the first run. */
  readonly created: boolean
  /** What was made by this call. */
  readonly made: readonly ('ca' | ServerKind | 'crl' | typeof demoName)[]
  /** Sentences for the log: nothing is broken yet, and somebody should do something. */
  readonly attention: readonly string[]
  readonly paths: PkiPaths
  /** The demo device, as long as its files are there and its certificate is valid. */
  readonly demo?: DemoDevice
}

export interface DemoDevice {
  readonly name: string
  readonly certificate: string
  readonly key: string
  readonly fingerprint: string
}

/**
 * A complete PKI in the folder. On the first run it makes the CA, both server certificates, a CRL and a device certificate `demo`; later
 * only server certificates and CRLs that are missing or end soon. It never replaces a CA, nor a certificate that was not made here. Many
 * may call it at once. Throws SluiceError WRONG_USE, with what to do, for a folder that isn't whole and can't be completed.
 */
export async function ensurePki(folder: string, options: EnsureOptions = {}): Promise<EnsuredPki> {
  const paths = pkiPaths(folder)
  const asked = readHostNames(options.hostNames ?? [])
  const wishes: Wishes = {
    names: distinct([...namesOfThisMachine(), ...asked]),
    covering: options.renewForNames === true ? asked : [],
  }
  const found = await look(paths, wishes)
  // Loaded only where something is to be made: a start that finds everything in place is a matter of milliseconds.
  const { created, made, attention } = isComplete(found)
    ? { created: false, made: [], attention: [] }
    : await (await import('./complete.ts')).complete(paths, wishes)
  const after = await lookAt(paths, { ...wishes, covering: [] })
  const demo = await demoDevice(paths, after.ledger)
  return {
    created,
    made,
    attention: [...attention, ...(await attentionTo(paths, after))],
    paths,
    ...(demo !== undefined && { demo }),
  }
}

/** Without the lock, because most starts find everything in place. What is wrong may be somebody else's half-done work, though. */
async function look(paths: PkiPaths, wishes: Wishes): Promise<Findings> {
  try {
    return await lookAt(paths, wishes)
  } catch (error) {
    // A folder that has no lock file is no PKI, and gets none.
    if (!(await isThere(join(paths.folder, lockFile)).catch(() => false))) throw error
    return withLock(paths.folder, () => lookAt(paths, wishes))
  }
}

async function attentionTo({ folder }: PkiPaths, { servers }: Findings): Promise<readonly string[]> {
  const sentences = servers.flatMap(({ attention }) => (attention === undefined ? [] : [attention]))
  if (await othersMayRead(folder)) sentences.push(`${folder} is open to other users; run "chmod 700 ${folder}"`)
  return sentences
}

async function demoDevice(paths: PkiPaths, ledger: Ledger): Promise<DemoDevice | undefined> {
  const pair = paths.issued('device', demoName)
  const pem = await readIfThere(pair.certificate)
  const certificate = pem === undefined ? undefined : readCertificate(pem)
  if (certificate === undefined || !(await isThere(pair.key))) return undefined
  const fingerprint = fingerprintOf(certificate)
  const entry = ledger.certificates.find((candidate) => candidate.fingerprint === fingerprint)
  return entry !== undefined && stateOf(entry) === 'valid' ? { name: demoName, ...pair, fingerprint } : undefined
}
