import { type Position, type Problem, formatPosition } from '../core/problem.ts'
import type { Resolve } from '../core/reference.ts'
import type { WorkerDefinition } from '../core/worker.ts'
import { displayName, listFiles, readSource, wholeFileProblem } from './files.ts'
import { suggestion } from '../core/nearest.ts'
import { type ReadWorker, type Registries, readWorker, stemOf, workerNameOf } from './worker-file.ts'

export interface WorkerFilesOptions extends Registries {
  /** Absolute. */
  readonly folder: string
  readonly cwd: string
  /** Gives the resolver of a worker. Left out: references stay open, and `settings` and `credential` are not given. */
  readonly resolverFor?: ((worker: string) => Resolve) | undefined
  /** The resolver for `queue:` of a worker's file; likewise. */
  readonly queueResolverFor?: ((worker: string) => Resolve) | undefined
  /** Read these workers only; the files of all others may be as wrong as they like. */
  readonly only?: readonly string[] | undefined
}

export interface WorkerFiles {
  readonly problems: readonly Problem[]
  readonly workers: ReadonlyMap<string, WorkerDefinition>
  /** Every worker that a file names, those with problems too. */
  readonly names: ReadonlySet<string>
  /** Of those that were read, the ones whose file says `queue:`, be that right or not, and where. */
  readonly withQueue: ReadonlyMap<string, Position>
  readonly missing: boolean
}

/** Reads workers/: one worker a file. */
export async function readWorkerFiles(options: WorkerFilesOptions): Promise<WorkerFiles> {
  const paths = await listFiles(options.folder, ['.yaml', '.yml'], 0)
  const problems: Problem[] = []
  const workers = new Map<string, WorkerDefinition>()
  const names = new Set<string>()
  const withQueue = new Map<string, Position>()
  const first = new Map<string, Position>()
  for (const path of paths ?? []) {
    const source = await readSource(path, displayName(path, options.cwd))
    const name = 'bytes' in source ? workerNameOf(source) : stemOf(path)
    names.add(name)
    // What this process doesn't own is never resolved, not even to find out what is wrong with it.
    if (options.only !== undefined && !options.only.includes(name)) continue
    const read: ReadWorker =
      'bytes' in source
        ? readWorker(source, name, options, options.resolverFor?.(name), options.queueResolverFor?.(name))
        : { problems: [source], position: source }
    if (read.queueAt !== undefined) withQueue.set(name, read.queueAt)
    problems.push(...read.problems)
    const earlier = first.get(name)
    if (earlier !== undefined) {
      const message = `a worker named "${name}" is already at ${formatPosition(earlier)}`
      problems.push({ ...read.position, path: 'name', message })
      continue
    }
    first.set(name, read.position)
    if (read.definition !== undefined) workers.set(name, read.definition)
  }
  for (const wanted of options.only ?? []) {
    if (names.has(wanted)) continue
    const message = `no file here is of a worker named "${wanted}"${suggestion(wanted, names)}`
    problems.push(wholeFileProblem(displayName(options.folder, options.cwd), message))
  }
  return { problems, workers, names, withQueue, missing: paths === undefined }
}
