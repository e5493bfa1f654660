import { appendFileSync } from 'node:fs'
import { silent } from '../../src/core/log.ts'
import { uncounted } from '../../src/core/metrics.ts'
import { delivered } from '../../src/core/outcome.ts'
import { Redactor } from '../../src/core/redactor.ts'
import { createWorkerRunner } from '../../src/delivery/worker-runner.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { quick, scripted, workerOf } from './delivery.ts'

/**
 * A worker process for tests: `node deadly-worker.ts <redis url> <file>` writes the id of each message it is given to the
 * file, one a line, and kills itself as `kill -9` would when it is given one whose id begins with "killer".
 */
const [, , url = '', file = ''] = process.argv
const queues = await openRedisQueues({ url, role: 'worker', log: silent, lockMs: 1_000, stalledCheckMs: 300 })
const forwarder = scripted(() => delivered, {
  send: async (items) => {
    if (items.some((item) => item.id.startsWith('killer'))) process.kill(process.pid, 'SIGKILL')
    for (const item of items) appendFileSync(file, `${item.id}\n`)
    return items.map(() => delivered)
  },
})
createWorkerRunner({
  worker: workerOf({ delivery: { ...quick, concurrency: 1 } }),
  forwarder,
  queues,
  openCredential: async () => undefined,
  redactor: new Redactor(),
  log: silent,
  metrics: uncounted,
}).start()
