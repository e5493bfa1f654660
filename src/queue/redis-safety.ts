import type { Redis } from 'ioredis'
import { messageOf } from '../core/errors.ts'
import type { Durability } from '../core/queue.ts'

export interface SafetyOptions {
  readonly durability: Durability
  /** Goes on where Redis may evict queues or keeps no append-only file. */
  readonly acceptLoss: boolean
  /** Only ingest promises durability to publishers; a worker's Redis user can't (and needn't) read the configuration. */
  readonly role: 'ingest' | 'worker'
}

/**
 * What is wrong with a Redis for holding acknowledged messages, in words that say what to set; undefined when nothing is.
 * Uses INFO, which the restricted users may; `fsync` also needs CONFIG GET, because INFO doesn't tell `appendfsync`.
 */
export async function complainAboutRedis(redis: Redis, options: SafetyOptions): Promise<string | undefined> {
  const info = readInfo(await redis.info())
  if (!options.acceptLoss) {
    const policy = info.get('maxmemory_policy')
    if (policy !== 'noeviction') {
      return `Redis may throw queued messages away: maxmemory-policy is ${policy ?? 'not told'}; set it to noeviction (or say acceptLoss: true)`
    }
    if (info.get('aof_enabled') !== '1') {
      return 'Redis keeps no append-only file, so a restart loses messages: set appendonly yes (or say acceptLoss: true)'
    }
  }
  if (options.role === 'worker') return undefined
  if (options.durability === 'fsync') return complainAboutFsync(redis)
  if (options.durability === 'replicated' && Number(info.get('connected_slaves') ?? 0) === 0) {
    return 'durability: replicated needs a replica, and none is connected to this Redis'
  }
  return undefined
}

async function complainAboutFsync(redis: Redis): Promise<string | undefined> {
  let always: boolean
  try {
    always = JSON.stringify(await redis.config('GET', 'appendfsync')).includes('"always"')
  } catch (error) {
    return `durability: fsync needs appendfsync always, and this user may not read it (${messageOf(error)}); allow +config|get`
  }
  return always
    ? undefined
    : 'durability: fsync needs appendfsync always; everysec may lose the last second when the power fails'
}

function readInfo(text: string): ReadonlyMap<string, string> {
  const lines = text.split(/\r?\n/).filter((line) => line.includes(':'))
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]))
}
