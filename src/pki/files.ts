import { randomBytes } from 'node:crypto'
import { lstat, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { SluiceError } from '../core/errors.ts'

/** Keys: for this user alone. */
export const secret = 0o600
/** Certificates and lists: public by nature; the folder around them is closed. */
export const readableByAll = 0o644
export const closedFolder = 0o700

const unfinished = /\.[0-9a-f]{16}\.tmp$/

/**
 * Writes a file whole or not at all, durably: a new file beside it, forced to the disk, takes its name. Callers hold the folder's lock,
 * and have looked whether a file may be replaced. Throws SluiceError WRONG_USE.
 */
export async function writeWhole(path: string, text: string, mode: number): Promise<void> {
  const temporary = join(dirname(path), `${basename(path)}.${randomBytes(8).toString('hex')}.tmp`)
  try {
    const handle = await open(temporary, 'wx', mode)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, path)
    await syncFolder(dirname(path))
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {})
    throw cannot('be written', path, error)
  }
}

/** Removes what a process that died while writing left behind. Callers hold the lock, so nobody is writing now. */
export async function removeUnfinished(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    if (unfinished.test(name)) await rm(join(folder, name), { force: true })
  }
}

/** The text of a file, or undefined where there is none. Throws SluiceError WRONG_USE where it can't be read. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw cannot('be read', path, error)
  }
}

export async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw cannot('be read', path, error)
  }
}

/** The names in a folder, or undefined where there is no such folder. Throws SluiceError WRONG_USE. */
export async function namesIn(folder: string): Promise<readonly string[] | undefined> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw cannot('be read', folder, error)
  }
}

/** Whether other users may read it. Windows has no such bits: there it is the folder's access list that protects. */
export async function othersMayRead(path: string): Promise<boolean> {
  if (process.platform === 'win32') return false
  const { mode } = await lstat(path)
  return (mode & 0o077) !== 0
}

/** `FILE cannot be written (EACCES)`: what a user can cause, without a stack. */
export function cannot(what: string, path: string, error: unknown): SluiceError {
  if (error instanceof SluiceError) return error
  return new SluiceError('WRONG_USE', `${path} cannot ${what} (${codeOf(error) ?? 'error'})`, { cause: error })
}

function codeOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : undefined
}

/** Some systems can't open a folder; there, its entries are durable when the system says so. */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch {
    // Nothing to do about it: the file itself is on the disk.
  }
}
