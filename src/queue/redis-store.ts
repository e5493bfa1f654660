import type { Store } from '../core/queue.ts'
import { encodeName } from './names.ts'
import type { RedisLink } from './redis-link.ts'

/** Takes or renews a lease; 1 when it is the holder's now. */
const leaseScript = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`

const releaseScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1`

/** The store under `{sluice}:…`, which no key pattern of a worker's Redis user reaches. */
export function createRedisStore(link: RedisLink): Store {
  const { redis } = link
  const valueKey = (key: string) => `{sluice}:store:${encodeName(key)}`
  const leaseKey = (key: string) => `{sluice}:lease:${encodeName(key)}`
  return {
    async get<Value>(key: string) {
      const text = await link.attempt(() => redis.get(valueKey(key)))
      return text === null ? undefined : (JSON.parse(text) as Value)
    },
    async set(key, value) {
      await link.attempt(() => redis.set(valueKey(key), JSON.stringify(value)))
    },
    async delete(key) {
      await link.attempt(() => redis.del(valueKey(key)))
    },
    async lease(key, holder, ms) {
      return (await link.attempt(() => redis.eval(leaseScript, 1, leaseKey(key), holder, ms))) === 1
    },
    async release(key, holder) {
      await link.attempt(() => redis.eval(releaseScript, 1, leaseKey(key), holder))
    },
  }
}
