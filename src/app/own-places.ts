import { isDeepStrictEqual } from 'node:util'
import type { Config } from '../config/load.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Problem } from '../core/problem.ts'
import type { Store } from '../core/queue.ts'
import { isSameRedis, labelOfRedis } from '../core/redis-url.ts'
import type { OwnQueue, WorkerDefinition } from '../core/worker.ts'

type Workers = Config['workers']

/**
 * What a reload can't bring about: queues are opened at the start, and what lies in one doesn't come along to another. So a worker that
 * is new with a queue of its own, or whose queue is elsewhere now, is refused. One whose file is gone keeps its queue open.
 */
export function movedQueues(opened: Workers, next: Workers): readonly Problem[] {
  return [...next.values()].flatMap(({ name, position, queue }) => {
    const before = opened.get(name)
    if (before === undefined && queue === undefined) return []
    if (isSamePlace(before?.queue, queue)) return []
    const message =
      before === undefined
        ? `queue: worker "${name}" is new, and a queue of its own is opened at a start only: restart to apply it`
        : `queue: that of worker "${name}" is in another place than the running Sluice has it, and what waits in the old one does not come along: let that be worked off, then restart to apply it`
    return [{ ...position, path: 'queue', message }]
  })
}

/**
 * Says loudly which queues workers had for themselves when an ingest started last and are named by no file now: from here nobody looks
 * into them any more. Remembers those of now. Where the queue is away the next start says it.
 */
export async function sayWhatIsLeft(store: Store, workers: Workers, log: Log): Promise<void> {
  const now = Object.fromEntries(
    [...workers.values()].flatMap(({ name, queue }) => (queue === undefined ? [] : [[name, labelOfRedis(queue.url)]])),
  )
  try {
    const before = (await store.get<Readonly<Record<string, string>>>(placesKey)) ?? {}
    for (const [worker, at] of Object.entries(before)) {
      if (now[worker] === at) continue
      log.error(
        { worker, at },
        'this worker had its queue there when ingest started last: what is left there is neither delivered nor shown until its file says so again',
      )
    }
    if (!isDeepStrictEqual(before, now)) await store.set(placesKey, now)
  } catch (error) {
    log.debug({ error: messageOf(error) }, 'where workers had their queues could not be looked up')
  }
}

const placesKey = 'own-queues'

/** The workers of a new configuration with their queues as they were opened; says whether any of those is written otherwise. */
export function withOpened(opened: Workers, next: Workers): { readonly workers: Workers; readonly differ: boolean } {
  let differ = false
  const workers = [...next].map(([name, worker]): [string, WorkerDefinition] => {
    const queue = opened.get(name)?.queue
    if (queue === undefined || isDeepStrictEqual(queue, worker.queue)) return [name, worker]
    differ = true
    return [name, { ...worker, queue }]
  })
  return { workers: new Map(workers), differ }
}

function isSamePlace(one: OwnQueue | undefined, other: OwnQueue | undefined): boolean {
  if (one === undefined || other === undefined) return one === other
  return isSameRedis(one.url, other.url)
}
