import { existsSync } from 'node:fs'
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { createDatabase } from './embedded-database.ts'
import { lockFiles } from './owner-lock.ts'
import { syncFolder } from './synced-fs.ts'

const databaseFolder = 'pg'
/** A database in the making: what is left of it after a crash is nothing to keep. */
const newFolder = 'pg.new'

/** Without these Postgres would take the folder for an empty one, or not open it. */
const vitalFiles = ['PG_VERSION', join('global', 'pg_control')]

/**
 * The folder of the database, which is made whole or not at all when there is none. Throws QUEUE_CORRUPT where there is
 * something that isn't a whole database: it is never taken for a first start.
 */
export async function prepareDatabaseFolder(folder: string, log: Log): Promise<string> {
  const database = join(folder, databaseFolder)
  if (existsSync(database)) {
    const missing = vitalFiles.filter((file) => !existsSync(join(database, file)))
    if (missing.length > 0) throw corrupt(folder, `${database} has no ${missing.join(', ')}`)
    return database
  }
  const ours = new Set<string>([...lockFiles, newFolder])
  const strange = (await readdir(folder)).filter((name) => !ours.has(name) && !name.startsWith('.'))
  if (strange.length > 0) throw corrupt(folder, `it holds ${strange.slice(0, 5).join(', ')} and no database`)
  const fresh = join(folder, newFolder)
  await rm(fresh, { recursive: true, force: true })
  await mkdir(fresh, { mode: 0o700 })
  await createDatabase(fresh)
  await rename(fresh, database)
  syncFolder(folder)
  log.info({ folder }, 'made a new embedded queue')
  return database
}

/** What to do about a folder that doesn't open. */
export function corrupt(folder: string, reason: unknown): SluiceError {
  const text =
    `the embedded queue in ${folder} cannot be opened (${messageOf(reason)}). Nothing in it was thrown away. ` +
    'Put a backup of the folder in its place, or move it away to start with an empty queue; messages in it are not delivered then'
  return new SluiceError('QUEUE_CORRUPT', text, { cause: reason })
}
