// What it costs that an add is in Redis' file and in the ledger before it is acknowledged: the same jobs, added as Sluice adds them, and
// as plain BullMQ does, which is satisfied with Redis' answer. Full envelopes, as under load, and envelopes of one message, as when
// little comes. The CPU of the adding process and that of Redis are the steady figures.
//
//   node bench/promises.ts [--smoke] [--json]
import { parseArgs } from 'node:util'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { newId } from '../src/core/id.ts'
import { silent } from '../src/core/log.ts'
import type { NewJob } from '../src/core/queue.ts'
import { jobOptions } from '../src/queue/job-options.ts'
import { openRedisQueues } from '../src/queue/redis.ts'
import { benchEntry } from './support/add-bulk.ts'
import { Bench } from './support/bench.ts'
import { cpuSeconds } from './support/usage.ts'

const { values } = parseArgs({
  options: { smoke: { type: 'boolean', default: false }, json: { type: 'boolean', default: false } },
})
const rounds = values.smoke ? 1 : 5

interface Load {
  readonly name: string
  /** Messages in an envelope, envelopes in a call, calls of a round. */
  readonly messages: number
  readonly envelopes: number
  readonly calls: number
}
const loads: readonly Load[] = [
  { name: 'full envelopes (256 messages)', messages: 256, envelopes: 4, calls: values.smoke ? 10 : 100 },
  { name: 'one message each', messages: 1, envelopes: 1, calls: values.smoke ? 200 : 4_000 },
]

type Way = (jobs: readonly NewJob[]) => Promise<void>

/** Of one way over all rounds. Microseconds of CPU a call. */
interface Spent {
  calls: number
  seconds: number
  adder: number
  redis: number
}

const bench = await Bench.open()
try {
  const port = await bench.redis()
  const admin = new Redis(port)
  const pid = Number(/process_id:(\d+)/.exec(await admin.info('server'))?.[1])
  const bare = new Queue('bare', { connection: { host: '127.0.0.1', port }, prefix: '{bench}' })
  const queues = await openRedisQueues({ url: `redis://127.0.0.1:${port}`, role: 'ingest', log: silent })
  const ways: Readonly<Record<string, Way>> = {
    bullmq: async (jobs) =>
      void (await bare.addBulk(jobs.map(({ id, data }) => ({ name: 'job', data, opts: jobOptions(id) })))),
    sluice: (jobs) => queues.add({ owner: 'bench', part: 'work' }, jobs),
  }
  const rows = []
  for (const load of loads) {
    const spent = new Map<string, Spent>()
    for (let round = 0; round <= rounds; round += 1) {
      // The order alternates, so that no way always has the quiet minute.
      const names = round % 2 === 0 ? ['bullmq', 'sluice'] : ['sluice', 'bullmq']
      for (const name of names) {
        const way = ways[name]
        if (way === undefined) continue
        const one = await measure(load, way, pid)
        // The first round makes the code hot.
        if (round > 0) spent.set(name, sum(spent.get(name), one))
        await admin.flushall()
      }
    }
    rows.push({ load, bullmq: spent.get('bullmq') ?? zero(), sluice: spent.get('sluice') ?? zero() })
  }
  await bare.close()
  await queues.close()
  admin.disconnect()
  report(rows)
} finally {
  await bench.close()
}

/** Two calls in flight, as ingest has. */
async function measure({ messages, envelopes, calls }: Load, way: Way, redisPid: number): Promise<Spent> {
  const jobs = Array.from({ length: calls }, () => Array.from({ length: envelopes }, () => jobOf(messages)))
  const [cpu, redis, start] = [process.cpuUsage(), cpuSeconds(redisPid), performance.now()]
  const lane = async (): Promise<void> => {
    for (let next = jobs.pop(); next !== undefined; next = jobs.pop()) await way(next)
  }
  await Promise.all([lane(), lane()])
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  return { calls, seconds, adder: user + system, redis: (cpuSeconds(redisPid) - redis) * 1e6 }
}

function jobOf(messages: number): NewJob {
  const entries = Array.from({ length: messages }, benchEntry)
  return {
    id: newId(),
    data: { v: 1, set: 'bench', entries },
    entering: { tally: [['bench', 'accepted', messages]] },
  }
}

function sum(one: Spent = zero(), other: Spent): Spent {
  return {
    calls: one.calls + other.calls,
    seconds: one.seconds + other.seconds,
    adder: one.adder + other.adder,
    redis: one.redis + other.redis,
  }
}

function zero(): Spent {
  return { calls: 0, seconds: 0, adder: 0, redis: 0 }
}

function report(rows: readonly { load: Load; bullmq: Spent; sluice: Spent }[]): void {
  if (values.json) return console.log(JSON.stringify(rows))
  for (const { load, bullmq, sluice } of rows) {
    console.log(`\n${load.name}, ${load.envelopes} in a call, two calls in flight`)
    for (const [name, spent] of Object.entries({ bullmq, sluice })) {
      const added = load.messages * load.envelopes
      const cpu = (micros: number) =>
        `${(micros / spent.calls).toFixed(0)} µs (${(micros / spent.calls / added).toFixed(2)} a message)`
      const rate = Math.round((spent.calls * added) / spent.seconds)
      console.log(
        `${name.padEnd(8)}${String(rate).padStart(9)} messages/s  CPU a call: adder ${cpu(spent.adder)}, Redis ${cpu(spent.redis)}`,
      )
    }
    const ratio = (sluice.adder + sluice.redis) / (bullmq.adder + bullmq.redis)
    console.log(`sluice / bullmq: CPU ${ratio.toFixed(2)}, rate ${(bullmq.seconds / sluice.seconds).toFixed(2)}`)
  }
}
