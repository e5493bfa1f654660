import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Scope } from '../support/cleanup.ts'

/** Room for PGlite's files and some thousands of messages. */
const mebibytes = 160

/** Puts a file system of its own on a folder; only root may. */
export function mountSmallDisk(scope: Scope, folder: string): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', folder])
  scope.after(() => void spawnSync('umount', ['-l', folder]))
}

/** Takes all the room there is on the folder's file system; gives what lets go of it. */
export function fillDisk(folder: string): () => void {
  const path = join(folder, 'ballast')
  const file = openSync(path, 'w')
  try {
    for (const size of [1024 * 1024, 4096]) {
      const chunk = Buffer.alloc(size)
      while (hasWritten(file, chunk));
    }
  } finally {
    closeSync(file)
  }
  return () => rmSync(path)
}

function hasWritten(file: number, chunk: Buffer): boolean {
  try {
    return writeSync(file, chunk) > 0
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return false
    throw error
  }
}
