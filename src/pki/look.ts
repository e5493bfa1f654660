import { SluiceError } from '../core/errors.ts'
import { readAuthorityCertificate } from './authority-certificate.ts'
import { isThere } from './files.ts'
import { ledgerOfNewcomer, requireEmpty } from './folder.ts'
import { emptyLedger, type Ledger, readLedger } from './ledger.ts'
import type { HostName } from './names.ts'
import type { PkiPaths } from './paths.ts'
import { serverKinds, type ServerState, serverState } from './server-state.ts'

/** What server certificates are to be for when they are made, and what they must be for now. */
export interface Wishes {
  readonly names: readonly HostName[]
  readonly covering: readonly HostName[]
}

/** What is in a PKI folder, and what is to be done about it. */
export interface Findings {
  /** Nothing is there yet, or a first run was interrupted. */
  readonly settingUp: boolean
  readonly ledger: Ledger
  readonly servers: readonly ServerState[]
  readonly crlDue: boolean
}

/** A CRL with less time left than this is made anew: half of its 30 days. */
const renewCrlWithin = 15 * 86_400_000

/** Reads, and changes nothing. Throws SluiceError WRONG_USE. */
export async function lookAt(paths: PkiPaths, { covering }: Wishes): Promise<Findings> {
  const ledger = await readLedger(paths)
  const authority = await readAuthorityCertificate(paths)
  if (ledger === undefined && authority === undefined) {
    await requireEmpty(paths.folder)
    return { settingUp: true, ledger: { ...emptyLedger, settingUp: true }, servers: [], crlDue: true }
  }
  if (authority === undefined && ledger?.settingUp !== true)
    throw new SluiceError('WRONG_USE', `${paths.ca.certificate} is missing; put a backup of it in its place`)
  const known = ledger ?? (await ledgerOfNewcomer(paths))
  const servers: ServerState[] = []
  for (const which of serverKinds) servers.push(await serverState(paths, known, which, covering))
  const left = Date.parse(known.crlUntil ?? '') - Date.now()
  const crlDue = !(left > renewCrlWithin) || !(await isThere(paths.crl))
  return { settingUp: known.settingUp === true, ledger: known, servers, crlDue }
}

/** Whether there is nothing to be made. */
export function isComplete({ settingUp, servers, crlDue }: Findings): boolean {
  return !settingUp && !crlDue && servers.every(({ due }) => due === undefined)
}
