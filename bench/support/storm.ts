// Devices that all connect at once, in a process of their own: TLS with a client certificate each, CONNECT, and wait for the
// CONNACK; then all stay. Parameters: port, folder of the certificates, handshakes in progress at a time.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import { generate } from 'mqtt-packet'

const [port = '0', folder = '.', window = '64'] = process.argv.slice(2)
const authority = readFileSync(join(folder, 'authority.pem'))
const key = readFileSync(join(folder, 'device.key'))
const devices = JSON.parse(readFileSync(join(folder, 'devices.json'), 'utf8')) as { name: string; pem: string }[]

const sockets: TLSSocket[] = []
const times: number[] = []
let next = 0
let failed = 0
const start = performance.now()
await Promise.all(Array.from({ length: Number(window) }, work))
const seconds = (performance.now() - start) / 1_000
times.sort((a, b) => a - b)
// Long enough to see whether anybody is thrown out again.
await new Promise((resolve) => setTimeout(resolve, 500))
const open = sockets.filter((socket) => !socket.destroyed && socket.readable).length
const at = (part: number): number => times[Math.floor(times.length * part)] ?? 0
console.log(JSON.stringify({ connected: times.length, failed, open, seconds, p50: at(0.5), p99: at(0.99) }))
process.on('SIGTERM', () => process.exit(0))

async function work(): Promise<void> {
  for (;;) {
    const device = devices[next++]
    if (device === undefined) return
    const began = performance.now()
    if (await comeIn(device)) times.push(performance.now() - began)
    else failed += 1
  }
}

function comeIn({ name, pem }: { readonly name: string; readonly pem: string }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({
      port: Number(port),
      host: '127.0.0.1',
      servername: 'localhost',
      ca: authority,
      cert: pem,
      key,
    })
    sockets.push(socket)
    socket.setNoDelay()
    socket.on('secureConnect', () =>
      socket.write(
        generate({
          cmd: 'connect',
          protocolId: 'MQTT',
          protocolVersion: 4,
          clean: true,
          clientId: name,
          keepalive: 600,
        }),
      ),
    )
    socket.once('data', (bytes: Buffer) => resolve(bytes[0] === 0x20 && bytes[3] === 0))
    socket.on('error', () => resolve(false))
    socket.on('close', () => resolve(false))
  })
}
