import type { Redis } from 'ioredis'
import { messageOf } from '../core/errors.ts'
import type { Durability } from '../core/queue.ts'
import { infoOf, type Info } from './redis-info.ts'
import { askHowItLoads } from './redis-loading.ts'

export interface SafetyOptions {
  readonly durability: Durability
  /** Goes on where Redis may lose acknowledged messages by its settings. */
  readonly acceptLoss: boolean
  /** Only ingest promises durability to publishers; a worker's Redis user can't (and needn't) ask for more than INFO. */
  readonly role: 'ingest' | 'worker'
}

/** What one look at a Redis has found, in words that say what to set. */
export interface Finding {
  /** Why this node takes no writes, where INFO says so: another may be behind the address by now. Then nothing else was looked at. */
  readonly refusal?: string
  /** Why it may not hold acknowledged messages; undefined: it may. */
  readonly complaint: string | undefined
  /** What the promise leaves out here: losses that were accepted, and what this server doesn't tell. */
  readonly exceptions: readonly string[]
}

/** What of earlier looks at the same run of a server counts. */
export interface Seen {
  run: string | undefined
  /** It was without an append-only file. */
  wasOff: boolean
  wasFine: boolean
}

/**
 * Looks whether a Redis may hold acknowledged messages. By INFO, which the restricted users may; ingest asks by ACL DRYRUN too, and
 * for `fsync` by CONFIG GET, because INFO doesn't tell `appendfsync`. `seen` is kept from look to look.
 */
export async function lookAtRedis(redis: Redis, options: SafetyOptions, seen: Seen): Promise<Finding> {
  const info = infoOf(await redis.info())
  const refusal = refusalOf(info)
  if (refusal !== undefined) return { refusal, complaint: undefined, exceptions: [] }
  const losses = [...complainAboutInfo(info, seen)]
  const exceptions: string[] = []
  if (options.role === 'ingest' && info.get('aof_enabled') === '1') {
    const loading = await askHowItLoads(redis)
    if (loading.kind === 'drops') losses.push(dropping(loading.command))
    if (loading.kind === 'unknown')
      exceptions.push(`whether its next start loads what it holds could not be checked (${loading.because})`)
    if (!tellsOfWrites(info))
      exceptions.push('this server does not tell what it has written to its file, and may lose that when it is killed')
  }
  const unmet = options.role === 'ingest' ? await complainAboutDurability(redis, options.durability, info) : undefined
  seen.wasFine = losses.length === 0
  if (options.acceptLoss) return { complaint: unmet, exceptions: [...losses, ...exceptions] }
  const loss = losses.length === 0 ? undefined : `${losses.join('; and ')} (or say acceptLoss: true)`
  return { complaint: unmet ?? loss, exceptions }
}

function refusalOf(info: Info): string | undefined {
  if (info.get('loading') === '1') return 'it is still loading its data'
  return info.get('role') === 'slave' ? 'it is a replica' : undefined
}

/** Whether INFO has what says that a write is in the file (`RedisWritten`). */
export function tellsOfWrites(info: Info): boolean {
  return info.has('aof_buffer_length') && info.has('aof_current_size')
}

function* complainAboutInfo(info: Info, seen: Seen): Generator<string> {
  const run = info.get('run_id')
  if (run !== seen.run) Object.assign(seen, { run, wasOff: false, wasFine: false } satisfies Seen)
  const policy = info.get('maxmemory_policy')
  if (policy !== 'noeviction')
    yield `Redis may throw queued messages away: maxmemory-policy is ${policy ?? 'not told'}; set it to noeviction`
  if (info.get('aof_enabled') !== '1') {
    seen.wasOff = true
    yield 'Redis keeps no append-only file, so a restart loses messages: set appendonly yes'
  } else if (isMakingFile(info, seen)) {
    yield 'Redis is still making its append-only file, and a restart before it is done loses messages: wait for it'
  } else {
    seen.wasOff = false
  }
}

/**
 * Switched on while it runs, Redis says `aof_enabled:1` at once, but loads nothing of the file before the first rewrite is done
 * (AOF_WAIT_REWRITE in aof.c). That looks like any other rewrite, but for what was there before.
 */
function isMakingFile(info: Info, seen: Seen): boolean {
  const rewrites = info.get('aof_rewrite_in_progress') === '1' || info.get('aof_rewrite_scheduled') === '1'
  if (seen.wasOff) return rewrites || info.get('aof_last_bgrewrite_status') === 'err'
  return rewrites && !seen.wasFine && info.get('aof_base_size') === '0'
}

const dropping = (command: string) =>
  `Redis forgets the queue at its next start: it loads its append-only file as the user "default", who may not run "${command}" here, and ` +
  'leaves out every transaction in it. Before it restarts, write "user default off ~* &* +@all" into its ACL file and run ACL LOAD; ' +
  'nobody can log in as a user that is off'

async function complainAboutDurability(redis: Redis, durability: Durability, info: Info): Promise<string | undefined> {
  if (durability === 'fsync') return complainAboutFsync(redis)
  if (durability === 'replicated' && Number(info.get('connected_slaves') ?? 0) === 0)
    return 'durability: replicated needs a replica, and none is connected to this Redis'
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
