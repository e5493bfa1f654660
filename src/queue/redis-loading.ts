import type { Redis } from 'ioredis'
import { messageOf } from '../core/errors.ts'
import { isReplyError } from './redis-error.ts'

/**
 * Every write that Redis puts into its append-only file for BullMQ's scripts and ours, as it stands there: PEXPIRE as PEXPIREAT, what
 * has expired as DEL or UNLINK, BZPOPMIN as ZPOPMIN. SELECT stands in a transaction where the database is not 0.
 */
const writes = (key: string): readonly (readonly string[])[] => [
  ['SELECT', '0'],
  ['SET', key, '1'],
  ['DEL', key],
  ['UNLINK', key],
  ['INCR', key],
  ['PEXPIRE', key, '1'],
  ['PEXPIREAT', key, '1'],
  ['HSET', key, 'a', '1'],
  ['HMSET', key, 'a', '1'],
  ['HDEL', key, 'a'],
  ['HINCRBY', key, 'a', '1'],
  ['SADD', key, 'a'],
  ['SREM', key, 'a'],
  ['LPUSH', key, 'a'],
  ['RPUSH', key, 'a'],
  ['LREM', key, '0', 'a'],
  ['LSET', key, '0', 'a'],
  ['LTRIM', key, '0', '1'],
  ['LINSERT', key, 'BEFORE', 'a', 'b'],
  ['RPOPLPUSH', key, key],
  ['ZADD', key, '1', 'a'],
  ['ZREM', key, 'a'],
  ['ZREMRANGEBYRANK', key, '0', '1'],
  ['ZREMRANGEBYSCORE', key, '0', '1'],
  ['ZPOPMIN', key],
  ['XADD', key, '*', 'a', '1'],
  ['XTRIM', key, 'MAXLEN', '1'],
]

/** Names of no worker: what holds for them holds for any. */
const keys = ['{sluice:any}:any:1', '{sluice:any}:any.failures:1', '{sluice}:any']

export type Loading =
  | { readonly kind: 'whole' }
  /** What it will say NOPERM to. */
  | { readonly kind: 'drops'; readonly command: string }
  | { readonly kind: 'unknown'; readonly because: string }

/**
 * Whether this Redis will load what it writes into its append-only file. It runs each EXEC of the file as the user `default`, and
 * leaves out, without an error, what that user may not (execCommand in multi.c: seen on 7.0.15 and 8.0.2 with `user default off`, which
 * may nothing). Single commands and the RDB part of the file are loaded unasked, so a short test of a restart doesn't show it.
 * Asks by ACL DRYRUN (Redis 7), which changes nothing. Replicas apply what the primary sends without asking.
 */
export async function askHowItLoads(redis: Redis): Promise<Loading> {
  const dryRun = (command: readonly string[]) => ['acl', 'dryrun', 'default', ...command]
  try {
    await redis.call('acl', ...dryRun(['PING']).slice(1))
  } catch (error) {
    // Redis 6, a service without ACLs, or a user without `+acl|dryrun`.
    if (isReplyError(error)) return { kind: 'unknown', because: messageOf(error) }
    throw error
  }
  const commands = keys.flatMap(writes)
  const answers = (await redis.pipeline(commands.map(dryRun)).exec()) ?? []
  for (const [index, [error, answer]] of answers.entries()) {
    // A command that this server doesn't know is in no file of its.
    if (error !== null) {
      if (isReplyError(error)) continue
      throw error
    }
    if (answer !== 'OK') return { kind: 'drops', command: commands[index]?.slice(0, 2).join(' ') ?? '' }
  }
  return { kind: 'whole' }
}
