import type { Problem } from '../core/problem.ts'
import { isSameRedis } from '../core/redis-url.ts'
import type { Place, Resolve } from '../core/reference.ts'
import type { WorkerDefinition } from '../core/worker.ts'
import { checkSchema } from './schema-problems.ts'
import { ownQueue } from './sluice-schema.ts'
import { readTlsFiles } from './tls-files.ts'
import type { WorkerFiles } from './worker-files.ts'
import type { YamlFile } from './yaml.ts'

/** To whom `queue:` of a worker's file belongs. */
export function ownerOfQueue(name: string): Place['owner'] {
  return { kind: 'queue', name }
}

interface CheckedQueue {
  readonly problems: readonly Problem[]
  /** Left out where references in it are open. */
  readonly value?: NonNullable<WorkerDefinition['queue']>
}

/** Checks a worker's `queue:`, by itself: nothing else in the file is unknown because its address is. */
export function checkOwnQueue(
  file: YamlFile,
  written: unknown,
  name: string,
  resolve: Resolve | undefined,
): CheckedQueue {
  if (written === undefined) return { problems: [] }
  const checked = checkSchema(file, ownQueue, written, { base: ['queue'] })
  if (!checked.ok) return { problems: checked.problems }
  if (resolve === undefined) return { problems: [], value: checked.value }
  const { part, problems } = readTlsFiles(file, checked.value, ['queue'], ownerOfQueue(name), resolve)
  return { problems, value: part }
}

/** A queue "of its own" that is everybody's would be looked into twice. Of what is known: two names of one machine are two. */
export function complainAboutShared(
  shared: string,
  { workers, withQueue }: Pick<WorkerFiles, 'workers' | 'withQueue'>,
): readonly Problem[] {
  return [...withQueue].flatMap(([name, position]) => {
    const queue = workers.get(name)?.queue
    if (queue === undefined || !isSameRedis(queue.url, shared)) return []
    const message = 'queue: this is the queue that all share; leave it out, or name another Redis or another database'
    return [{ ...position, path: 'queue', message }]
  })
}
