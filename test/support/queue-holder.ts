import { silent } from '../../src/core/log.ts'
import { openEmbeddedQueues } from '../../src/queue/embedded.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'

/** How a child process opens the queues that a test has too. */
export type Opening =
  | { readonly kind: 'embedded'; readonly folder: string }
  | { readonly kind: 'redis'; readonly url: string; readonly lockMs?: number; readonly stalledCheckMs?: number }

/**
 * A process that takes jobs and never finishes them: `node queue-holder.ts <opening as JSON> <owner>`. It says
 * `holding <id> after <deaths> deaths` for each.
 */
const [opening = '', owner = ''] = process.argv.slice(2)
const order = JSON.parse(opening) as Opening
const queues =
  order.kind === 'redis'
    ? await openRedisQueues({ ...order, role: 'worker', log: silent })
    : await openEmbeddedQueues({ ...order, log: silent })
queues.consume(
  { owner, part: 'work' },
  (job) => {
    console.log(`holding ${job.id} after ${job.deaths} deaths`)
    return new Promise(() => {})
  },
  { concurrency: 4 },
)
