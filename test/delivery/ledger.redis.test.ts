import { silent } from '../../src/core/log.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { testLedger } from '../conformance/ledger.ts'
import { startRedis } from '../support/redis.ts'

testLedger({
  name: 'Redis',
  async prepare(scope) {
    const { url } = await startRedis(scope)
    return { open: () => openRedisQueues({ url, role: 'ingest', log: silent, lockMs: 600, stalledCheckMs: 250 }) }
  },
})
