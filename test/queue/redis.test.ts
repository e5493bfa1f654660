import { silent } from '../../src/core/log.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { testQueues } from '../conformance/queue.ts'
import { startRedis } from '../support/redis.ts'

testQueues({
  name: 'Redis',
  exclusive: false,
  async prepare(scope) {
    const { url } = await startRedis(scope)
    const quick = { url, lockMs: 600, stalledCheckMs: 250 }
    return {
      open: () => openRedisQueues({ ...quick, role: 'ingest', log: silent }),
      opening: { kind: 'redis', ...quick },
    }
  },
})
