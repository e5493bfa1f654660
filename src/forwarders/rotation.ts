import { access, rename } from 'node:fs/promises'

/**
 * Moves a full file out of the way: `path` becomes `path.1`, what was `path.1` becomes `path.2`, up to `path.<keep>`; what
 * falls out at the end is deleted by being replaced.
 *
 * Safe against a death at any point: files move from the old end on, each into a place that is free, so that a death
 * leaves a gap and never two files in one place. The next rotation moves only up to the gap.
 */
export async function rotate(path: string, keep: number): Promise<void> {
  const last = await firstFree(path, keep)
  for (let place = last - 1; place >= 1; place -= 1) await rename(`${path}.${place}`, `${path}.${place + 1}`)
  await rename(path, `${path}.1`)
}

/** The first place without a file, or the last place there is. */
async function firstFree(path: string, keep: number): Promise<number> {
  for (let place = 1; place < keep; place += 1) if (!(await exists(`${path}.${place}`))) return place
  return keep
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
