import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { messageOf } from '../core/errors.ts'

export interface WatchOptions {
  /**
   * Time between two looks, which cost one `stat` a file: soon enough that what a change takes from somebody is gone within a
   * second of it. Where a look takes long, fewer of them are made.
   */
  readonly intervalMs?: number
  readonly onError?: (message: string) => void
}

/**
 * Calls `onChange` when anything in the folders (or files) has changed and has then stayed as it is for one look, so that
 * a half-written file is not read. Looks at times, sizes and inodes instead of asking the system for events: that sees
 * renames by editors, Kubernetes' swapped links, network and bind mounts alike. Resolves after the first look: changes
 * from then on are seen, so await it before reading the files. One call at a time; ends with `signal`.
 */
export async function watchFolders(
  paths: readonly string[] | (() => readonly string[]),
  onChange: () => void | Promise<void>,
  signal: AbortSignal,
  options: WatchOptions = {},
): Promise<void> {
  const { intervalMs = 350, onError = () => {} } = options
  const look = () => fingerprintOf(typeof paths === 'function' ? paths() : paths)
  const first = await look()
  void watch(first).catch((error: unknown) => {
    if (!signal.aborted) onError(messageOf(error))
  })

  async function watch(first: string): Promise<void> {
    let acted = first
    let [lookMs, beforeMs] = [0, 0]
    let last = first
    for (;;) {
      // The quicker of two: one that was slow by chance, on a busy machine, says nothing about the folders.
      await wait(Math.max(intervalMs, Math.min(lookMs, beforeMs) * mostlyIdle), undefined, { signal, ref: false })
      const start = performance.now()
      const now = await look()
      beforeMs = lookMs
      lookMs = performance.now() - start
      const settled = now === last
      last = now
      if (!settled || now === acted || signal.aborted) continue
      acted = now
      try {
        await onChange()
      } catch (error) {
        onError(messageOf(error))
      }
    }
  }
}

/** Of the time, looking may take one part in so many. */
const mostlyIdle = 20

/** Links are followed; hidden entries are left out as when reading (config/files.ts). */
async function fingerprintOf(paths: readonly string[]): Promise<string> {
  const lines: string[] = []
  for (const path of paths) await describe(path, 8, lines)
  return lines.join('\n')
}

async function describe(path: string, depth: number, lines: string[]): Promise<void> {
  const facts = await stat(path, { bigint: true }).catch(() => undefined)
  if (facts === undefined) {
    lines.push(`${path} missing`)
    return
  }
  if (!facts.isDirectory()) {
    lines.push(`${path} ${facts.dev} ${facts.ino} ${facts.size} ${facts.mtimeNs} ${facts.ctimeNs}`)
    return
  }
  lines.push(path)
  if (depth === 0) return
  const names = await readdir(path).catch((): string[] => [])
  for (const name of names.toSorted(inOrder))
    if (!name.startsWith('.')) await describe(join(path, name), depth - 1, lines)
}

function inOrder(a: string, b: string): number {
  return a < b ? -1 : 1
}
