import { statfs } from 'node:fs/promises'
import { QueueAwayError } from '../core/errors.ts'

/** One envelope as large as it gets by default. Where less is free a small commit still finds room in files that are there already. */
const roomBytes = 1_048_576

/** Throws QueueAwayError where the disk of a folder has no room for an envelope. */
export async function needRoom(folder: string): Promise<void> {
  const { bsize, bavail, bfree } = await statfs(folder)
  // What a file system reserves for root is there for root only.
  const free = bsize * (process.getuid?.() === 0 ? bfree : bavail)
  if (free < roomBytes) throw new QueueAwayError(`the embedded queue: the disk of ${folder} is full`, false)
}
