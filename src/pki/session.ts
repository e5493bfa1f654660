import { SluiceError } from '../core/errors.ts'
import { type Authority, openAuthority } from './authority.ts'
import { isThere } from './files.ts'
import { ledgerOfNewcomer, tidy } from './folder.ts'
import { type Ledger, readLedger } from './ledger.ts'
import { withLock } from './lock.ts'
import { type PkiPaths, pkiPaths } from './paths.ts'

/** A PKI folder, held for one act. */
export interface Session {
  readonly paths: PkiPaths
  readonly ledger: Ledger
  readonly authority: Authority
}

/** Runs `act` on a complete PKI, alone. Throws SluiceError WRONG_USE where there is none, with what to do. */
export async function withPki<T>(folder: string, act: (session: Session) => Promise<T>): Promise<T> {
  const paths = pkiPaths(folder)
  // Before anything is written: a folder that is no PKI gets no lock file either.
  if (!(await isThere(paths.ca.certificate)) && !(await isThere(paths.ledger)))
    throw new SluiceError('WRONG_USE', `there is no CA in ${folder}; "sluice pki init" makes one`)
  return withLock(folder, async () => {
    await tidy(paths)
    const ledger = (await readLedger(paths)) ?? (await ledgerOfNewcomer(paths))
    if (ledger.settingUp === true)
      throw new SluiceError('WRONG_USE', `${folder} is half made; run "sluice pki init" again, which goes on with it`)
    return act({ paths, ledger, authority: await openAuthority(paths) })
  })
}
