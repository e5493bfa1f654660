import { join } from 'node:path'
import type { SluiceSettings } from '../config/sluice-schema.ts'
import type { Clock } from '../core/clock.ts'
import type { Log } from '../core/log.ts'
import type { Queues } from '../core/queue.ts'
import { openEmbeddedQueues } from '../queue/embedded.ts'
import { openRedisQueues } from '../queue/redis.ts'

/** The folder of the embedded queue. */
export function embeddedFolder(settings: Pick<SluiceSettings, 'data'>): string {
  return join(settings.data, 'queue')
}

/** Opens the queue that the configuration names. Throws QUEUE_HELD, QUEUE_CORRUPT and QUEUE_UNSAFE; Redis may be away. */
export function openQueues(
  settings: Pick<SluiceSettings, 'data' | 'queue'>,
  log: Log,
  clock: Clock,
  role: 'ingest' | 'worker' = 'ingest',
): Promise<Queues> {
  const { url, durability, acceptLoss, tls, sentinel } = settings.queue
  if (url === 'embedded') return openEmbeddedQueues({ folder: embeddedFolder(settings), log, clock })
  const { ca, certificate: cert, key, servername } = tls ?? {}
  return openRedisQueues({
    url,
    acceptLoss,
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
