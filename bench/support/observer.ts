// The subscriber at the end, in a process of its own: checks that every sequence number arrives and measures how long each took.
// Parameters: port, filter, messages. Prints "ready", then one JSON line when all are there.
import { connectRaw } from './raw-client.ts'

const [port = 0, , count = 0] = process.argv.slice(2).map(Number)
const filter = process.argv[3] ?? '#'
const seen = new Uint8Array(count)
const latencies = new Float64Array(count)
let distinct = 0
let duplicates = 0
let first = 0
const done = Promise.withResolvers<void>()
const client = await connectRaw(port, `observer-${process.pid}`, {
  publish(packet) {
    const now = performance.timeOrigin + performance.now()
    first ||= now
    client.acknowledge(packet.messageId ?? 0)
    const { seq, at } = JSON.parse(packet.payload.toString()) as { seq: number; at: number }
    if (seen[seq] === 1) {
      duplicates += 1
      return
    }
    seen[seq] = 1
    latencies[distinct++] = now - at
    if (distinct === count) done.resolve()
  },
})
await client.subscribe(filter)
console.log('ready')
await done.promise
const seconds = (performance.timeOrigin + performance.now() - first) / 1000
const sorted = latencies.toSorted()
const quantile = (q: number) => sorted[Math.min(count - 1, Math.floor(count * q))] ?? 0
console.log(
  JSON.stringify({
    messages: distinct,
    duplicates,
    seconds,
    rate: distinct / seconds,
    p50: quantile(0.5),
    p99: quantile(0.99),
  }),
)
client.close()
