import type { InHand } from './backend.ts'
import type { BullName } from './names.ts'
import type { RedisLink } from './redis-link.ts'

/** Delayed jobs looked at in one script: about a millisecond of Redis' time. */
const page = 1_000

/** Further ahead than this beyond what was asked for is no rounding. */
const slackMs = 1_000

/**
 * Of a page of delayed jobs, those due last first: one that is due later from now than it was ever asked to wait (BullMQ keeps that in
 * its hash) was put off before the clock went back, and is due now. Gives how many were looked at and how many were brought forward.
 */
const delayedScript = `
local now, slack = tonumber(ARGV[1]), tonumber(ARGV[2])
local jobs = redis.call('ZREVRANGE', KEYS[1], ARGV[3], ARGV[4], 'WITHSCORES')
local moved = 0
for index = 1, #jobs, 2 do
  local left = math.floor(tonumber(jobs[index + 1]) / 4096) - now
  if left > slack + (tonumber(redis.call('HGET', ARGV[5] .. jobs[index], 'delay')) or 0) then
    redis.call('ZADD', KEYS[1], now * 4096, jobs[index])
    moved = moved + 1
  end
end
if moved > 0 then redis.call('ZADD', KEYS[2], 0, '0') end
return { #jobs / 2, moved }`

/**
 * Redis dates the end of locks by its own clock. After a step back none may outlive what it was taken for; after a step forward
 * those of the jobs in hand here are taken again, unless somebody else has the job by now.
 */
const locksScript = `
local function bound(key, most)
  if redis.call('PTTL', key) > most then redis.call('PEXPIRE', key, most) end
end
local lockMs = tonumber(ARGV[2])
bound(KEYS[3], tonumber(ARGV[3]))
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do bound(ARGV[1] .. id .. ':lock', lockMs) end
for index = 4, #ARGV, 2 do
  local id, lock = ARGV[index], ARGV[1] .. ARGV[index] .. ':lock'
  if redis.call('LPOS', KEYS[1], id) and redis.call('EXISTS', lock) == 0 then
    redis.call('SET', lock, ARGV[index + 1], 'PX', lockMs)
    redis.call('SREM', KEYS[2], id)
  end
end
return 1`

export interface LockTimes {
  readonly lockMs: number
  readonly stalledCheckMs: number
}

/** Puts right what a step of a clock has done to the dates of a queue. */
export async function keepRedisToClock(
  link: RedisLink,
  { prefix, name }: BullName,
  { lockMs, stalledCheckMs }: LockTimes,
  inHand: readonly InHand[],
): Promise<void> {
  const key = (suffix: string) => `${prefix}:${name}:${suffix}`
  const locks = inHand.flatMap(({ id, token }) => [id, token])
  const keys = [key('active'), key('stalled'), key('stalled-check')]
  await link.attempt(() => link.redis.eval(locksScript, 3, ...keys, key(''), lockMs, stalledCheckMs, ...locks))
  for (let start = 0; ;) {
    const range = [Date.now(), slackMs, start, start + page - 1]
    const answer = await link.attempt(() =>
      link.redis.eval(delayedScript, 2, key('delayed'), key('marker'), ...range, key('')),
    )
    const [looked, moved] = answer as [number, number]
    if (looked < page) return
    start += looked - moved
  }
}
