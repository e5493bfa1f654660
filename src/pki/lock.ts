import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as pause } from 'node:timers/promises'
import { messageOf, SluiceError } from '../core/errors.ts'
import { cannot, secret } from './files.ts'

/** SQLite's result code: another has the lock. */
const busyCode = 5

export const lockFile = '.lock'

/** A command here takes well under a second; whoever has waited this long, waits for something that hangs. */
const patience = 30_000

/**
 * Runs `act` while no other process, and no other call in this one, does the same with the folder. The lock is SQLite's on an empty
 * file, as for the embedded queue: the kernel's, so it ends with the process however that ends, and there is no stale one. Throws
 * SluiceError WRONG_USE where it isn't to be had.
 */
export async function withLock<T>(folder: string, act: () => Promise<T>): Promise<T> {
  const path = join(folder, lockFile)
  await create(path)
  const held = await take(path, performance.now() + patience)
  try {
    return await act()
  } finally {
    held.close()
  }
}

/**
 * Only a file that isn't there is opened: a POSIX lock goes when its process closes any descriptor of the file, and another call here
 * may hold it.
 */
async function create(path: string): Promise<void> {
  try {
    await (await open(path, 'wx', secret)).close()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw cannot('be written', path, error)
  }
}

async function take(path: string, until: number): Promise<DatabaseSync> {
  for (;;) {
    let database: DatabaseSync | undefined
    try {
      database = new DatabaseSync(path)
      database.exec('PRAGMA busy_timeout=0; BEGIN EXCLUSIVE')
      return database
    } catch (error) {
      database?.close()
      const code = typeof error === 'object' && error !== null && 'errcode' in error ? error.errcode : undefined
      if (code !== busyCode)
        throw new SluiceError('WRONG_USE', `${path} cannot be locked: ${messageOf(error)}`, { cause: error })
      if (performance.now() > until)
        throw new SluiceError(
          'WRONG_USE',
          `${path} is held by another process since ${patience / 1000} s; end that first`,
        )
    }
    await pause(10 + Math.random() * 20)
  }
}
