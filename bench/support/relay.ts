// The do-nothing relay: takes messages at QoS 1, publishes each again at QoS 1, and acknowledges when the broker has it.
// No identity, no rule, no queue: the ceiling for anything that republishes. Parameters: port, filter, prefix to publish under.
import { connectRaw } from './raw-client.ts'

const port = Number(process.argv[2])
const filter = process.argv[3] ?? '#'
const prefix = process.argv[4] ?? 'out'
const waiting = new Map<number, number>()
let next = 1
const output = await connectRaw(port, `relay-out-${process.pid}`, {
  ack(id) {
    const incoming = waiting.get(id)
    waiting.delete(id)
    if (incoming !== undefined) input.acknowledge(incoming)
  },
})
const input = await connectRaw(port, `relay-in-${process.pid}`, {
  publish(packet) {
    if (waiting.size === 0 || output.socket.writableCorked === 0) {
      output.socket.cork()
      setImmediate(() => output.socket.uncork())
    }
    const id = next
    next = next === 65_000 ? 1 : next + 1
    waiting.set(id, packet.messageId ?? 0)
    output.publish(`${prefix}/${packet.topic}`, packet.payload, id)
  },
})
await input.subscribe(filter)
console.log('ready')
