import { closeSync, fdatasyncSync, fsyncSync, openSync } from 'node:fs'
import { PGlite, type PGliteOptions } from '@electric-sql/pglite'
import { NodeFS } from '@electric-sql/pglite/nodefs'

type Emscripten = Parameters<
  NonNullable<NonNullable<Awaited<ReturnType<NodeFS['init']>>['emscriptenOpts']['preRun']>[number]>
>[0]

/** What of emscripten's NODEFS is used below; its own types don't have it. The version of PGlite is pinned for it, and a test counts. */
interface NodeFiles {
  readonly stream_ops: { fsync?: (stream: { readonly nfd?: number; readonly node: unknown }) => number }
  tryFSOperation<T>(operation: () => T): T
  realPath(node: unknown): string
}

/**
 * PGlite's file system on a folder, made durable: emscripten's has no fsync, so Postgres' own calls end nowhere
 * (feasibility-queue, change 1). An error of the disk reaches Postgres as one, so the commit fails.
 */
export class SyncedNodeFS extends NodeFS {
  /** How often data was forced to the disk. */
  syncs = 0

  override async init(...parameters: Parameters<NodeFS['init']>): ReturnType<NodeFS['init']> {
    const made = await super.init(...parameters)
    made.emscriptenOpts.preRun?.push((module: Emscripten) => this.#addSync(filesOf(module)))
    return made
  }

  #addSync(files: NodeFiles): void {
    files.stream_ops.fsync = (stream) => {
      files.tryFSOperation(() =>
        typeof stream.nfd === 'number' ? fdatasyncSync(stream.nfd) : syncFolder(files.realPath(stream.node)),
      )
      this.syncs += 1
      return 0
    }
  }
}

/** Postgres' settings: as PGlite's, but with sync (`-F` is "no fsync"), and small (change 5: 350 MB as shipped). */
export const startParams: NonNullable<PGliteOptions['startParams']> = [
  ...PGlite.defaultStartParams.filter((parameter) => parameter !== '-F'),
  // The default, fdatasync, is a stub in the WASM build.
  ...['wal_sync_method=fsync', 'shared_buffers=8MB', 'max_wal_size=64MB', 'jit=off'].flatMap((setting) => [
    '-c',
    setting,
  ]),
]

function filesOf(module: unknown): NodeFiles {
  return (module as { readonly NODEFS: NodeFiles }).NODEFS
}

/** Makes the names in a folder durable. */
export function syncFolder(path: string): void {
  const handle = openSync(path, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}
