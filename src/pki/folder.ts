import { chmod, mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { SluiceError } from '../core/errors.ts'
import { cannot, closedFolder, isThere, namesIn, removeUnfinished } from './files.ts'
import { emptyLedger, type Ledger } from './ledger.ts'
import type { PkiPaths } from './paths.ts'

/** The folders in a PKI folder. */
const subfolders = ['devices', 'servers'] as const

/** What an empty folder may hold: mount points aren't quite empty. */
const nothing = /^(?:\..*|lost\+found|.*\.tmp)$/

/**
 * An empty ledger for a CA that somebody has just put there, and for nothing else: an empty one in the place of a lost one would forget
 * what was issued. Throws SluiceError WRONG_USE.
 */
export async function ledgerOfNewcomer(paths: PkiPaths): Promise<Ledger> {
  const used = [paths.crl, ...subfolders.map((name) => join(paths.folder, name))]
  for (const path of used) {
    if (await isThere(path))
      throw new SluiceError('WRONG_USE', `${paths.ledger} is missing while ${path} is there; put a backup in its place`)
  }
  return emptyLedger
}

/** Throws SluiceError WRONG_USE for a folder that holds anything: a new CA is made among no other files. */
export async function requireEmpty(folder: string): Promise<void> {
  const strange = ((await namesIn(folder)) ?? []).filter((name) => !nothing.test(name))
  if (strange.length === 0) return
  const shown = strange.slice(0, 5).join(', ')
  const text = `${folder} holds ${shown}, and no ca.pem with a ledger.json; name an empty folder, or one that is not there yet`
  throw new SluiceError('WRONG_USE', text)
}

/** The folder itself, for this user alone. Throws SluiceError WRONG_USE. */
export async function makeClosed(folder: string): Promise<void> {
  try {
    await mkdir(dirname(folder), { recursive: true })
    await mkdir(folder, { mode: closedFolder })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw cannot('be made', folder, error)
    // A mounted volume may belong to somebody else; the keys in it are closed in any case.
    await chmod(folder, closedFolder).catch(() => {})
  }
}

/** A folder in it. Throws SluiceError WRONG_USE. */
export async function makeSubfolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: closedFolder })
  } catch (error) {
    throw cannot('be made', path, error)
  }
}

/** Removes what an interrupted write has left. Callers hold the lock. */
export async function tidy({ folder }: PkiPaths): Promise<void> {
  await removeUnfinished(folder)
  for (const name of subfolders) await removeUnfinished(join(folder, name))
}
