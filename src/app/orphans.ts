import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { callControl } from '../admin/client.ts'
import type { Config } from '../config/load.ts'
import { unwatchedClock } from '../core/clock.ts'
import { silent } from '../core/log.ts'
import { embeddedFolder, openSharedQueues } from './queues.ts'
import { leftBehind, type Orphan, orphansOf } from './status.ts'

/** A Sluice that hangs must not hang a check. */
const patienceMs = 5_000

/**
 * Queues that hold messages of a worker no file owns, as far as they can be looked at: through a running Sluice, or in the
 * queue itself. Nothing is changed, and where neither can be reached nothing is said.
 */
export async function findOrphans(config: Config): Promise<readonly Orphan[]> {
  const socket = join(config.settings.data, 'control.sock')
  const signal = AbortSignal.timeout(patienceMs)
  const running = await callControl(socket, 'GET', '/orphans', undefined, { signal }).catch(() => undefined)
  if (running?.status === 200) return running.body as readonly Orphan[]
  const { url } = config.settings.queue
  if (url === 'embedded' && !existsSync(embeddedFolder(config.settings))) return []
  try {
    const queues = await openSharedQueues(config.settings, { role: 'ingest', log: silent, clock: unwatchedClock })
    try {
      const moved = [...config.workers.values()].flatMap(({ name, queue }) => (queue === undefined ? [] : [name]))
      return [...(await orphansOf(queues, new Set(config.workers.keys()))), ...(await leftBehind(queues, moved))]
    } finally {
      await queues.close()
    }
  } catch {
    return []
  }
}
