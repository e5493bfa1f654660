// The main way, measured: MQTT QoS 1 publish → bridge → one rule → Redis (AOF everysec) → `mqtt` worker → QoS 1 → a subscriber that
// checks every sequence number. Against three ceilings of the same run on the same machine:
//   subscriber  mosquitto and a bare subscriber with batched acks: what the broker can do
//   relay       receives and republishes at QoS 1, and does nothing else: what any republisher can do
//   addBulk     full envelopes into Redis alone: what the queue can take
// Rates differ threefold from minute to minute on shared machines: read the ratios.
//
//   node bench/pipeline.ts [--smoke] [--json] [--messages N] [--rounds N] [--latency-rate N] [--queue redis|embedded]
import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createHash } from 'node:crypto'
import { Bench, type Observed } from './support/bench.ts'
import { measureAddBulk } from './support/add-bulk.ts'

const { values } = parseArgs({
  options: {
    smoke: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    messages: { type: 'string' },
    rounds: { type: 'string' },
    'latency-rate': { type: 'string', default: '1000' },
    queue: { type: 'string', default: 'redis' },
  },
})
const messages = Number(values.messages ?? (values.smoke ? 2_000 : 100_000))
const rounds = Number(values.rounds ?? (values.smoke ? 1 : 3))
const latencyRate = Number(values['latency-rate'])
const latencyMessages = values.smoke ? 1_000 : latencyRate * 10
const window = 1_000

const bench = await Bench.open()
try {
  const mosquitto = await bench.mosquitto()
  const redis = await bench.redis()
  const config = await writeConfiguration(
    bench.folder,
    mosquitto,
    values.queue === 'embedded' ? 'embedded' : `redis://127.0.0.1:${redis}`,
  )

  const rows: Observed[] = []
  // One process fewer for the ceilings is their nature; the order alternates so that no row always has the quiet minute.
  for (let round = 0; round < rounds; round++) {
    rows.push(await subscriberAlone(), await relay(), await pipeline())
  }
  const add = await measureAddBulk(redis, values.smoke ? 20 : 400)
  const latency = await pipelineLatency()
  report(rows, add, latency)

  async function subscriberAlone(): Promise<Observed> {
    return bench.flood('subscriber', { port: mosquitto, publish: 'plain', observe: 'plain/#', messages, window })
  }

  async function relay(): Promise<Observed> {
    const process = await bench.node('support/relay.ts', [String(mosquitto), 'relayed/#', 'out'])
    await process.says('ready')
    const seen = await bench.flood('relay', {
      port: mosquitto,
      publish: 'relayed',
      observe: 'out/relayed/#',
      messages,
      window,
      watch: { relay: process },
    })
    await process.stop()
    return seen
  }

  async function pipeline(): Promise<Observed> {
    const parts = await startSluice()
    const seen = await bench.flood('sluice', {
      port: mosquitto,
      publish: 'devices',
      observe: 'routed/#',
      messages,
      window,
      watch: parts.watch,
    })
    await parts.stop()
    return seen
  }

  async function pipelineLatency(): Promise<Observed> {
    const parts = await startSluice()
    const seen = await bench.flood('latency', {
      port: mosquitto,
      publish: 'devices',
      observe: 'routed/#',
      messages: latencyMessages,
      window,
      rate: latencyRate,
      watch: parts.watch,
    })
    await parts.stop()
    return seen
  }

  async function startSluice() {
    if (values.queue === 'embedded') {
      const all = await bench.sluice(config, ['start'])
      await all.says('ready')
      return { watch: { sluice: all }, stop: () => all.stop() }
    }
    const ingest = await bench.sluice(config, ['ingest'])
    const worker = await bench.sluice(config, ['worker', 'out'])
    await ingest.says('ready')
    await worker.says('ready')
    return { watch: { ingest, worker }, stop: async () => void (await Promise.all([ingest.stop(), worker.stop()])) }
  }
} finally {
  await bench.close()
}

async function writeConfiguration(folder: string, port: number, queue: string): Promise<string> {
  const token = randomBytes(32).toString('hex')
  const sha256 = createHash('sha256').update(token).digest('hex')
  const broker = `mqtt://127.0.0.1:${port}`
  const files: Record<string, string> = {
    'sluice.yaml': JSON.stringify({
      listen: {},
      queue,
      bridges: [
        {
          name: 'bench',
          url: broker,
          topics: ['devices/#'],
          thing: '${ $topic(2) }',
          actsFor: ['*'],
          trust: 'topics',
          unknownThings: 'allow',
        },
      ],
      log: { format: 'json' },
    }),
    'rules/bench.yaml': `from: devices/+/climate\nto: [{ worker: out, with: { topic: 'routed/\${ $topic(2) }' } }]\n`,
    'workers/out.yaml': `kind: mqtt\nurl: ${broker}\n`,
    'identity/nobody.yaml': JSON.stringify({ principals: [{ name: 'nobody', policies: [], token: { sha256 } }] }),
  }
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(folder, name, '..'), { recursive: true })
    await writeFile(join(folder, name), text)
  }
  return join(folder, 'sluice.yaml')
}

function report(rows: readonly Observed[], addBulk: number, latency: Observed): void {
  const best = (name: string) => rows.filter((row) => row.name === name).toSorted((a, b) => b.rate - a.rate)[0]
  const ours = best('sluice')
  const relay = best('relay')
  const alone = best('subscriber')
  if (ours === undefined || relay === undefined || alone === undefined) throw new Error('a run is missing')
  const ratio = ours.rate / relay.rate
  if (values.json) {
    console.log(
      JSON.stringify({
        messages,
        rounds,
        queue: values.queue,
        ours,
        relay,
        alone,
        addBulk,
        latency,
        ratioToRelay: ratio,
      }),
    )
    return
  }
  console.log(`\n${messages} messages a run, best of ${rounds}, queue ${values.queue}, window ${window}\n`)
  for (const row of [alone, relay, ours]) {
    const cpu = Object.entries(row.cpuMicros).map(([name, micros]) => `${name} ${micros.toFixed(1)} µs`)
    const memory = Object.entries(row.peakMiB).map(([name, mib]) => `${name} ${mib} MiB`)
    console.log(
      `${row.name.padEnd(12)}${Math.round(row.rate).toString().padStart(8)}/s  duplicates ${row.duplicates}  CPU a message: ${cpu.join(', ') || '-'}  peak: ${memory.join(', ') || '-'}`,
    )
  }
  console.log(`${'addBulk'.padEnd(12)}${Math.round(addBulk).toString().padStart(8)}/s  messages in full envelopes`)
  console.log(
    `\nat ${latencyRate} messages/s: p50 ${latency.p50.toFixed(1)} ms, p99 ${latency.p99.toFixed(1)} ms from publish to subscriber`,
  )
  console.log(`\nsluice / relay       ${ratio.toFixed(2)}   (aim: 0.55)`)
  console.log(`sluice / subscriber  ${(ours.rate / alone.rate).toFixed(2)}`)
  console.log(`sluice / addBulk     ${(ours.rate / addBulk).toFixed(2)}`)
}
