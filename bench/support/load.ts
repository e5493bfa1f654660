// A publisher in a process of its own: QoS 1, one different message a PUBLISH, a window of unacknowledged ones.
// Parameters: port, topic prefix, messages, window, messages per second (0: as fast as the window lets it).
import { connectRaw } from './raw-client.ts'

const [port = 0, , count = 0, window = 0, rate = 0] = process.argv.slice(2).map(Number)
const prefix = process.argv[3] ?? 'bench'
let sent = 0
let acknowledged = 0
const done = Promise.withResolvers<void>()
const client = await connectRaw(port, `load-${process.pid}`, {
  ack() {
    acknowledged += 1
    if (acknowledged === count) done.resolve()
    else if (rate === 0) fill()
  },
})

function fill(limit = count): void {
  client.socket.cork()
  while (sent < limit && sent - acknowledged < window) {
    const at = performance.timeOrigin + performance.now()
    const payload = `{"seq":${sent},"at":${at.toFixed(3)},"celsius":${20 + (sent % 200) / 10},"status":"ok","note":"${'x'.repeat(40)}"}`
    client.publish(`${prefix}/d-${sent % 200}/climate`, payload, (sent % 65_000) + 1)
    sent += 1
  }
  client.socket.uncork()
}

const start = performance.now()
if (rate === 0) fill()
else {
  const timer = setInterval(() => {
    fill(Math.min(count, Math.floor(((performance.now() - start) / 1000) * rate)))
    if (sent === count) clearInterval(timer)
  }, 2)
}
await done.promise
console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000 }))
client.close()
