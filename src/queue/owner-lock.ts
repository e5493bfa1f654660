import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { messageOf, SluiceError } from '../core/errors.ts'

/** SQLite result codes: another has the lock; not a database. */
const busyCode = 5
const damagedCodes: ReadonlySet<unknown> = new Set([11, 26])

const lockFile = 'owner.db'
const noteFile = 'owner.txt'

/** Names that the lock has in the folder. */
export const lockFiles: readonly string[] = [lockFile, `${lockFile}-journal`, noteFile]

/**
 * Takes the folder for this process, and gives what lets it go. An SQLite lock is the kernel's: it ends with the process,
 * however that ends, and two starts can't both have it. (Not on network file systems.) Throws QUEUE_HELD with who has it.
 */
export function takeFolder(folder: string): () => void {
  const path = join(folder, lockFile)
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(path)
    database.exec('PRAGMA busy_timeout=0; PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE')
  } catch (error) {
    database?.close()
    throw explain(error, folder, path)
  }
  const held = database
  writeFileSync(join(folder, noteFile), `process ${process.pid} on ${hostname()} since ${new Date().toISOString()}\n`)
  return () => {
    rmSync(join(folder, noteFile), { force: true })
    held.close()
  }
}

function explain(error: unknown, folder: string, path: string): SluiceError {
  const code = typeof error === 'object' && error !== null && 'errcode' in error ? error.errcode : undefined
  if (code === busyCode) {
    const text = `the embedded queue in ${folder} is held by ${readNote(folder)}; stop that first, or give this one another data folder`
    return new SluiceError('QUEUE_HELD', text, { cause: error })
  }
  const what = damagedCodes.has(code)
    ? `${path} is damaged; it holds no messages: delete it and start again`
    : `${path}: ${messageOf(error)}`
  return new SluiceError('QUEUE_CORRUPT', `the embedded queue in ${folder} cannot be opened: ${what}`, { cause: error })
}

function readNote(folder: string): string {
  try {
    return readFileSync(join(folder, noteFile), 'utf8').trim().slice(0, 200) || 'another process'
  } catch {
    return 'another process'
  }
}
