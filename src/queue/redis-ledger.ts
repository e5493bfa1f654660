import type { Redis } from 'ioredis'
import type { Census, Entering, LeavingEntry, LedgerStore, OpenEntry, TotalLine } from '../core/ledger.ts'
import type { QueueName } from '../core/queue.ts'
import { leavingText, openEntryOf, totalsOf } from './ledger-text.ts'
import { parsedJson } from '../core/parsed-json.ts'
import { bullNameOf, decodeId, encodeId } from './names.ts'
import type { RedisLink } from './redis-link.ts'

/**
 * Enters a job that has just been added, in the same transaction: KEYS are the job, its queue's open entries, their numbers, the
 * totals and the running numbers of the series; ARGV the id, the tally and the ranges. Nothing is entered for
 * a job that isn't there, because its add failed, nor twice for one that is.
 */
const enterScript = `
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 0 end
local number = redis.call('HINCRBY', KEYS[4], 'number', 1)
redis.call('HSET', KEYS[2], ARGV[1], number .. ':' .. ARGV[2])
redis.call('ZADD', KEYS[3], number, ARGV[1])
for _, line in ipairs(cjson.decode(ARGV[2])) do
  redis.call('HINCRBY', KEYS[4], cjson.encode({ 'in', line[1], line[2] }), line[3])
end
if ARGV[3] == '' then return number end
for _, range in ipairs(cjson.decode(ARGV[3])) do
  local following = tonumber(redis.call('HGET', KEYS[5], range[1]) or '0')
  local twice = math.min(following, range[3] + 1) - range[2]
  if twice > 0 then
    -- The first ones are named; whoever goes on adding twice must not fill the totals.
    local id = redis.call('HLEN', KEYS[4]) < 10000 and ARGV[1] or '…'
    redis.call('HINCRBY', KEYS[4], cjson.encode({ 'twice', range[1], id }), twice)
  end
  if range[3] + 1 > following then redis.call('HSET', KEYS[5], range[1], string.format('%.0f', range[3] + 1)) end
end
redis.call('PEXPIRE', KEYS[5], 86400000)
return number`

/**
 * Writes what becomes of jobs: KEYS[1] what was written, ARGV an id and a text for each. A Redis that is full refuses a script whose
 * first write could need memory, and is emptied by jobs that leave: so the first write is one that never does.
 */
const leaveScript = `
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1`

/** The same for a job that is gone and has an open entry in KEYS[2]. */
const leaveAgainScript = `
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return 0 end
${leaveScript}`

/** KEYS: open entries, what was written, numbers, totals, and the jobs; ARGV: what is expected and what it comes to, as JSON. */
const settleScript = `
local given = cjson.decode(ARGV[1])
for index, id in ipairs(given.ids) do
  if redis.call('EXISTS', KEYS[4 + index]) == 1 then return 0 end
  if (redis.call('HGET', KEYS[1], id) or '') ~= given.entries[index] then return 0 end
  if (redis.call('HGET', KEYS[2], id) or '') ~= given.leaving[index] then return 0 end
end
for _, id in ipairs(given.ids) do
  redis.call('HDEL', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
  redis.call('ZREM', KEYS[3], id)
end
for _, sum in ipairs(given.sums) do redis.call('HINCRBY', KEYS[4], sum[1], sum[2]) end
return 1`

/** The ledger beside the jobs of each queue, under keys that belong to the queue's owner as the jobs do. */
export function createRedisLedger(link: RedisLink): LedgerStore {
  const { redis } = link
  redis.defineCommand('sluiceEnter', { lua: enterScript, numberOfKeys: 5 })
  redis.defineCommand('sluiceLeave', { lua: leaveScript, numberOfKeys: 1 })
  redis.defineCommand('sluiceSettle', { lua: settleScript })

  return {
    async enter(queue, jobs) {
      const enter = ({ id, entering }: (typeof jobs)[number]) =>
        runScript(redis, 'sluiceEnter', enteringParameters(queue, encodeId(id), entering))
      await link.attempt(() => Promise.all(jobs.map(enter)))
    },
    async leave(queue, leaving, onlyEntered = false) {
      if (leaving.length === 0) return
      if (onlyEntered) {
        const { entries, out } = keysOf(queue)
        const again = (each: (typeof leaving)[number]) =>
          redis.eval(leaveAgainScript, 2, out, entries, encodeId(each.id), leavingText(each.leaving))
        return void (await link.attempt(() => Promise.all(leaving.map(again))))
      }
      const fields = leaving.flatMap((each) => [encodeId(each.id), leavingText(each.leaving)])
      await link.attempt(() => runScript(redis, 'sluiceLeave', [keysOf(queue).out, ...fields]))
    },
    async totals(queue) {
      const fields = await link.attempt(() => redis.hgetall(keysOf(queue).totals))
      const { number, ...sums } = fields as Readonly<Record<string, string>>
      return totalsOf(sums, Number(number ?? 0))
    },
    async census(queue): Promise<Census> {
      const { base, open } = keysOf(queue)
      // One step, so that no job moves from one list to another in between.
      const multi = redis.multi().llen(`${base}:wait`).llen(`${base}:active`).zcard(`${base}:delayed`).zcard(open)
      const [wait = 0, active = 0, delayed = 0, entries = 0] = await link.attempt(() => resultsOf<number>(multi.exec()))
      return { jobs: wait + active + delayed, entries }
    },
    async open(queue, after, limit) {
      const { open, entries } = keysOf(queue)
      const ids = await link.attempt(() => redis.zrangebyscore(open, `(${after}`, '+inf', 'LIMIT', 0, limit))
      if (ids.length === 0) return []
      const texts = await link.attempt(() => redis.hmget(entries, ...ids))
      return ids.flatMap((id, index): OpenEntry[] => openEntryOf(decodeId(id), texts[index]))
    },
    async leaving(queue, from, limit) {
      const keys = keysOf(queue)
      const [next, pairs] = await link.attempt(() => redis.hscan(keys.out, from === '' ? '0' : from, 'COUNT', limit))
      const ids = pairs.filter((_, index) => index % 2 === 0)
      const entries = ids.length === 0 ? [] : await link.attempt(() => redis.hmget(keys.entries, ...ids))
      const there = await areThere(queue, ids)
      const found = ids.map((id, index): LeavingEntry => ({
        id: decodeId(id),
        leaving: pairs[index * 2 + 1] ?? '',
        entry: entries[index] ?? undefined,
        isThere: there[index] === true,
      }))
      return { entries: found, ...(next !== '0' && { next }) }
    },
    async left(queue, ids) {
      if (ids.length === 0) return new Map()
      const texts = await link.attempt(() => redis.hmget(keysOf(queue).out, ...ids.map(encodeId)))
      return new Map(ids.flatMap((id, index) => (texts[index] == null ? [] : [[id, texts[index]] as const])))
    },
    async settle(queue, settled, sums) {
      const { base, entries, out, open, totals } = keysOf(queue)
      const ids = settled.map(({ id }) => encodeId(id))
      const keys = [entries, out, open, totals, ...ids.map((id) => `${base}:${id}`)]
      const given = {
        ids,
        entries: settled.map(({ entry = '' }) => entry),
        leaving: settled.map(({ leaving }) => leaving),
        sums: sums.map((line) => [fieldOf(line), line.messages]),
      }
      const settle = () => runScript(redis, 'sluiceSettle', [keys.length, ...keys, JSON.stringify(given)])
      return (await link.attempt(settle)) === 1
    },
    async count(queue, sums) {
      const pipeline = redis.multi()
      for (const line of sums) pipeline.hincrby(keysOf(queue).totals, fieldOf(line), line.messages)
      await link.attempt(() => resultsOf(pipeline.exec()))
    },
    async jobs(queue, ids, withData) {
      const { base } = keysOf(queue)
      if (!withData) {
        const there = await areThere(queue, ids.map(encodeId))
        return new Map(ids.flatMap((id, index) => (there[index] === true ? [[id, null] as const] : [])))
      }
      const pipeline = redis.pipeline()
      for (const id of ids) pipeline.hget(`${base}:${encodeId(id)}`, 'data')
      const texts = await link.attempt(() => resultsOf<string | null>(pipeline.exec()))
      return new Map(
        ids.flatMap((id, index) => {
          const text = texts[index]
          return typeof text === 'string' ? [[id, parsedJson(text)] as const] : []
        }),
      )
    },
  }

  async function areThere(queue: QueueName, encodedIds: readonly string[]): Promise<readonly boolean[]> {
    if (encodedIds.length === 0) return []
    const { base } = keysOf(queue)
    const pipeline = redis.pipeline()
    for (const id of encodedIds) pipeline.exists(`${base}:${id}`)
    return (await link.attempt(() => resultsOf<number>(pipeline.exec()))).map((count) => count === 1)
  }
}

/** Keys and arguments of `enterScript`, which the ledger defines as `sluiceEnter`. */
export function enteringParameters(
  queue: QueueName,
  encodedId: string,
  { tally, numbers }: Entering,
): readonly string[] {
  const { base, entries, open, totals } = keysOf(queue)
  const keys = [`${base}:${encodedId}`, entries, open, totals, `${base}:ledger:series:${numbers?.series ?? ''}`]
  return [...keys, encodedId, JSON.stringify(tally), numbers === undefined ? '' : JSON.stringify(numbers.ranges)]
}

function keysOf(queue: QueueName) {
  const { prefix, name } = bullNameOf(queue)
  const base = `${prefix}:${name}`
  return {
    base,
    /** Of jobs that are in the queue, or have left and aren't settled: `<number>:<tally>` by id. */
    entries: `${base}:ledger:in`,
    /** Their ids by number. */
    open: `${base}:ledger:open`,
    out: leavingKeyOf(base),
    totals: `${base}:ledger:totals`,
  }
}

/** Of a queue: what became of jobs that are about to leave, by id. */
export function leavingKeyOf(base: string): string {
  return `${base}:ledger:out`
}

function fieldOf({ side, rule, what }: TotalLine): string {
  return JSON.stringify([side, rule, what])
}

export function runScript(redis: Redis, name: string, parameters: readonly (string | number)[]): Promise<unknown> {
  const command = (redis as unknown as Record<string, (...given: readonly (string | number)[]) => Promise<unknown>>)[
    name
  ]
  return command?.apply(redis, [...parameters]) ?? Promise.reject(new Error(`no script ${name}`))
}

/** Of a pipeline or a transaction: what each command answered. Throws the first error. */
async function resultsOf<Value>(executed: Promise<[Error | null, unknown][] | null>): Promise<readonly Value[]> {
  return ((await executed) ?? []).map(([error, value]) => {
    if (error !== null) throw error
    return value as Value
  })
}
