import type { Redis } from 'ioredis'
import type { PagedJob } from '../core/queue.ts'
import type { BullName } from './names.ts'
import { leavingKeyOf } from './redis-ledger.ts'

/*
 * The jobs of a queue that wait are a list, the oldest at its end (BullMQ: `<queue>:wait`), and a hash for each job. What is here
 * pages through them and takes some out, at a cost that doesn't grow with the number of those before them.
 */

/** Bytes of data in one page; at least one job, however large. */
const pageBytes = 4_194_304

/**
 * What is behind a cursor: how long the list is, the place of the first, and for each its id, data and time. A cursor is a job's
 * place, counted from the oldest, and its id: where others were taken out before it, its id finds it; where it is gone itself, as
 * many were as the list is shorter.
 */
const pageScript = `
local total, start = redis.call('LLEN', KEYS[1]), 0
if ARGV[2] ~= '' then
  local place, before = tonumber(ARGV[1]), tonumber(ARGV[3])
  if redis.call('LINDEX', KEYS[1], -1 - place) == ARGV[2] then start = place + 1
  else
    local index = redis.call('LPOS', KEYS[1], ARGV[2], 'RANK', -1)
    if index then start = total - index else start = math.max(0, place + 1 - math.max(0, before - total)) end
  end
end
local count, left, found = tonumber(ARGV[4]), tonumber(ARGV[5]), {}
local ids = redis.call('LRANGE', KEYS[1], -start - count, -start - 1)
for index = #ids, 1, -1 do
  if left <= 0 then break end
  local job = redis.call('HMGET', KEYS[2] .. ids[index], 'data', 'timestamp')
  found[#found + 1] = { ids[index], job[1] or '', job[2] or '' }
  left = left - #found[#found][2]
end
return { total, start, found }`

/**
 * Takes jobs out that wait, and writes into the ledger what becomes of them (ARGV[1], empty: nothing): marks their places, then takes out all that is marked in one go from the old end. Those of one page
 * stand side by side, so looking for the first finds the others; each one for itself would be a walk through the list. The first
 * write needs no memory: a Redis that is full refuses any other, and this makes room.
 */
const removeScript = `
local leaving, wanted, removed = table.remove(ARGV, 1), {}, {}
redis.call('HDEL', KEYS[2], '')
for index, id in ipairs(ARGV) do wanted[id] = KEYS[index + 2] end
for _, id in ipairs(ARGV) do
  if wanted[id] then
    local at = redis.call('LPOS', KEYS[1], id, 'RANK', -1)
    if not at then wanted[id] = nil
    else
      local from = math.max(0, at - #ARGV)
      local around = redis.call('LRANGE', KEYS[1], from, at)
      for index = #around, 1, -1 do
        local key = wanted[around[index]]
        if key then
          if leaving ~= '' then redis.call('HSET', KEYS[2], around[index], leaving) end
          redis.call('LSET', KEYS[1], from + index - 1, '')
          wanted[around[index]] = nil
          removed[#removed + 1] = key
        end
      end
    end
  end
end
if #removed > 0 then
  redis.call('LREM', KEYS[1], -#removed, '')
  redis.call('DEL', unpack(removed))
end
return #removed`

/** Jobs that one call of the script takes out: a few milliseconds of Redis' time at most. */
export const removedAtOnce = 250

const cursorForm = /^(?<place>\d{1,15})\.(?<total>\d{1,15})\.(?<id>[\w~%-]+)$/

/** Waiting jobs behind a cursor, oldest first; ids and data as they are stored. None: the end. A cursor that is none begins at the oldest. */
export async function pageOfWaiting(
  redis: Redis,
  queue: BullName,
  from: string | undefined,
  count: number,
): Promise<readonly PagedJob<unknown>[]> {
  const key = keyOf(queue)
  let cursor = from
  for (;;) {
    const { place = '', total = '', id = '' } = cursorForm.exec(cursor ?? '')?.groups ?? {}
    const given = [place, id, total, count, pageBytes]
    const answer = await redis.eval(pageScript, 2, `${key}:wait`, `${key}:`, ...given)
    const [nowTotal, start, found] = answer as [number, number, readonly [string, string, string][]]
    const cursorAt = (index: number) => `${start + index}.${nowTotal}.${found[index]?.[0] ?? ''}`
    const jobs = found.flatMap(([jobId, data, at], index): PagedJob<unknown>[] =>
      // In the list without its hash: nothing that BullMQ leaves behind.
      data === '' ? [] : [{ id: jobId, data: JSON.parse(data), at: Number(at), cursor: cursorAt(index) }],
    )
    if (jobs.length > 0 || found.length === 0) return jobs
    cursor = cursorAt(found.length - 1)
  }
}

/** Takes out those that wait, with what the ledger is to say of them; says how many did. */
export async function removeWaiting(
  redis: Redis,
  queue: BullName,
  ids: readonly string[],
  leaving = '',
): Promise<number> {
  const key = keyOf(queue)
  const keys = [`${key}:wait`, leavingKeyOf(key), ...ids.map((id) => `${key}:${id}`)]
  return Number(await redis.eval(removeScript, keys.length, ...keys, leaving, ...ids))
}

function keyOf({ prefix, name }: BullName): string {
  return `${prefix}:${name}`
}
