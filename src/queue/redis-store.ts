import type { Change, Store, Table } from '../core/queue.ts'
import { decodeName, encodeName } from './names.ts'
import type { RedisLink } from './redis-link.ts'

/**
 * Takes or renews a lease; 1 when it is the holder's now. One that would last longer than it is asked for was taken before Redis' clock
 * went back: it lasts that long from now. A Redis that is full refuses a script whose first write could need memory, and whoever makes
 * room there has a lease.
 */
const leaseScript = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  if redis.call('PTTL', KEYS[1]) > tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`

const releaseScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1`

/**
 * Of a table: its version, its records as `<version>:<JSON>` (no JSON: taken away), and their keys by version. A record that was
 * taken away counts as one of version 0. Gives the new version, or nothing where the record had another than the one wanted.
 */
const putScript = `
local key, text, wanted = ARGV[1], ARGV[2], ARGV[3]
if wanted ~= '' then
  local version, rest = string.match(redis.call('HGET', KEYS[2], key) or '0:', '^(%d+):(.*)$')
  if rest == '' then version = '0' end
  if version ~= wanted then return false end
end
local version = string.format('%.0f', redis.call('INCR', KEYS[1]))
redis.call('HSET', KEYS[2], key, version .. ':' .. text)
redis.call('ZADD', KEYS[3], version, key)
return version`

const sinceScript = `
local keys = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'LIMIT', 0, ARGV[2])
local found = {}
for index, key in ipairs(keys) do found[index] = { key, redis.call('HGET', KEYS[1], key) } end
return found`

/**
 * The store under `{sluice}:…`, which no key pattern of a worker's Redis user reaches. `durably` runs a write and waits until it is
 * as durable as an add.
 */
export function createRedisStore(link: RedisLink, durably: <T>(write: () => Promise<T>) => Promise<T>): Store {
  const { redis } = link
  const valueKey = (key: string) => `{sluice}:store:${encodeName(key)}`
  const leaseKey = (key: string) => `{sluice}:lease:${encodeName(key)}`
  return {
    async get<Value>(key: string) {
      const text = await link.attempt(() => redis.get(valueKey(key)))
      return text === null ? undefined : (JSON.parse(text) as Value)
    },
    async set(key, value) {
      await link.attempt(() => durably(() => redis.set(valueKey(key), JSON.stringify(value))))
    },
    async delete(key) {
      await link.attempt(() => durably(() => redis.del(valueKey(key))))
    },
    async lease(key, holder, ms) {
      return (await link.attempt(() => redis.eval(leaseScript, 1, leaseKey(key), holder, ms))) === 1
    },
    async release(key, holder) {
      await link.attempt(() => redis.eval(releaseScript, 1, leaseKey(key), holder))
    },
    table: openTable,
    onReturn: (listener) => link.onReturn(listener),
  }

  function openTable(name: string): Table {
    const [version, records, changes] = ['version', 'records', 'changes'].map(
      (part) => `{sluice}:table:${encodeName(name)}:${part}`,
    ) as [string, string, string]
    return {
      async put(key, value, ifVersion) {
        const text = value === undefined ? '' : JSON.stringify(value)
        const given = [encodeName(key), text, ifVersion === undefined ? '' : String(ifVersion)]
        const put = await link.attempt(() =>
          durably(() => redis.eval(putScript, 3, version, records, changes, ...given)),
        )
        return put === null ? undefined : Number(put)
      },
      async since<Value>(version: number, limit = 1000) {
        const found = await link.attempt(() => redis.eval(sinceScript, 2, records, changes, version, limit))
        return (found as [string, string][]).map(([key, record]) => changeOf<Value>(key, record))
      },
    }
  }
}

function changeOf<Value>(key: string, record: string): Change<Value> {
  const colon = record.indexOf(':')
  const text = record.slice(colon + 1)
  const value = text === '' ? undefined : (JSON.parse(text) as Value)
  return { key: decodeName(key), version: Number(record.slice(0, colon)), value }
}
