import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** What became of one case. */
export type CaseResult =
  | { readonly kind: 'passed'; readonly id: string }
  | { readonly kind: 'failed'; readonly id: string; readonly expected: string; readonly got: string }
  /** Sluice doesn't have it, or not yet. */
  | { readonly kind: 'skipped'; readonly id: string; readonly reason: string }

/** The cases of one part of Sluice; one file each in this folder. */
export interface Suite {
  readonly name: string
  /** Undefined where the folder has no such cases. Throws on files that can't be read. */
  run(folder: string): Promise<readonly CaseResult[] | undefined>
}

/** A suite whose part of Sluice isn't written: every case counts as skipped, never as passed. */
export function notThereYet(name: string, file: string, read: (path: string) => readonly string[]): Suite {
  return {
    name,
    async run(folder) {
      const path = join(folder, file)
      if (!existsSync(path)) return undefined
      return read(path).map((id) => ({ kind: 'skipped', id, reason: 'not there yet' }))
    },
  }
}
