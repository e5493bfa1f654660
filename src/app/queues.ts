import { join } from 'node:path'
import type { SluiceSettings } from '../config/sluice-schema.ts'
import type { Clock } from '../core/clock.ts'
import type { Log } from '../core/log.ts'
import type { Queues } from '../core/queue.ts'
import type { OwnQueue, WorkerDefinition } from '../core/worker.ts'
import { createDividedQueues, type DividedQueues } from '../queue/divided.ts'
import { openEmbeddedQueues } from '../queue/embedded.ts'
import { openRedisQueues } from '../queue/redis.ts'

/** Who opens: a worker's Redis user reaches its own queues only. */
export interface Opener {
  readonly role: 'ingest' | 'worker'
  readonly log: Log
  readonly clock: Clock
}

/** The folder of the embedded queue. */
export function embeddedFolder(settings: Pick<SluiceSettings, 'data'>): string {
  return join(settings.data, 'queue')
}

/** Opens the queue that sluice.yaml names. Throws QUEUE_HELD, QUEUE_CORRUPT and QUEUE_UNSAFE; Redis may be away. */
export function openSharedQueues(settings: Pick<SluiceSettings, 'data' | 'queue'>, opener: Opener): Promise<Queues> {
  const { log, clock } = opener
  if (settings.queue.url === 'embedded') return openEmbeddedQueues({ folder: embeddedFolder(settings), log, clock })
  return openRedis(settings.queue, opener, false)
}

/**
 * Opens the queues that workers have for themselves, by their names. One that is away or not safe keeps nobody from starting: it refuses
 * what is for its worker until it can be used.
 */
export async function openOwnQueues(
  workers: Iterable<WorkerDefinition>,
  opener: Opener,
): Promise<ReadonlyMap<string, Queues>> {
  const opened = [...workers].flatMap(({ name, queue }) => {
    if (queue === undefined) return []
    const own = { ...opener, log: opener.log.with({ worker: name }) }
    return [openRedis(queue, own, true).then((queues) => [name, queues] as const)]
  })
  return new Map(await Promise.all(opened))
}

/** All queues that the configuration names, for ingest. Throws as `openSharedQueues`. */
export async function openQueues(
  settings: Pick<SluiceSettings, 'data' | 'queue'>,
  workers: Iterable<WorkerDefinition>,
  opener: Opener,
): Promise<DividedQueues> {
  const shared = await openSharedQueues(settings, opener)
  return createDividedQueues(shared, await openOwnQueues(workers, opener))
}

function openRedis(queue: OwnQueue, { role, log, clock }: Opener, openUnsafe: boolean): Promise<Queues> {
  const { url, durability, acceptLoss, tls, sentinel } = queue
  const { ca, certificate: cert, key, servername } = tls ?? {}
  return openRedisQueues({
    url,
    acceptLoss,
    openUnsafe,
    role,
    log,
    clock,
    ...(durability !== undefined && { durability }),
    ...(sentinel !== undefined && { sentinel }),
    ...(tls !== undefined && {
      tls: {
        ...(ca !== undefined && { ca }),
        ...(cert !== undefined && { cert }),
        ...(key !== undefined && { key }),
        ...(servername !== undefined && { servername }),
      },
    }),
  })
}
