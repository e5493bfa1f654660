// A CONNECT storm: devices that all come back at once over mutual TLS, each with a certificate of its own, registered in identity/.
// Measured against a bare tls.createServer that checks the same certificates and answers with a CONNACK: what the machine's TLS can
// do. Rates differ threefold from minute to minute on shared machines: read the ratio.
//
// What the profile says (node --cpu-prof, 2,000 connections): nearly all of it is OpenSSL's handshake, in both; ours reads the
// ClientHello before, judges the certificate after (a look-up by fingerprint), and opens a session.
//
//   node bench/connect-storm.ts [--smoke] [--json] [--devices N] [--rounds N] [--window N]
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { freePort } from '../test/support/cleanup.ts'
import { Bench, type Part } from './support/bench.ts'
import { makeDevices } from './support/device-certificates.ts'
import { cpuSeconds, memoryMiB } from './support/usage.ts'

const { values } = parseArgs({
  options: {
    smoke: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    devices: { type: 'string' },
    rounds: { type: 'string' },
    window: { type: 'string', default: '64' },
  },
})
const count = Number(values.devices ?? (values.smoke ? 100 : 2_000))
const rounds = Number(values.rounds ?? (values.smoke ? 1 : 3))

interface Row {
  readonly name: string
  readonly rate: number
  readonly connected: number
  readonly failed: number
  readonly open: number
  readonly p50: number
  readonly p99: number
  readonly cpuMillis: number
  readonly memoryKiB: number
}

const bench = await Bench.open()
try {
  const { config, port } = await prepare(bench.folder)
  const rows: Row[] = []
  for (let round = 0; round < rounds; round += 1) rows.push(await bare(), await ours())
  report(rows)

  async function bare(): Promise<Row> {
    const server = await bench.node('support/bare-tls.ts', [bench.folder])
    await server.says('listening')
    const at = Number(/listening (?<port>\d+)/.exec(server.output())?.groups?.['port'])
    return storm('bare tls', server, at)
  }

  async function ours(): Promise<Row> {
    const server = await bench.sluice(config, ['start'])
    await server.says('ready')
    return storm('sluice', server, port)
  }

  async function storm(name: string, server: Part, at: number): Promise<Row> {
    const cpu = cpuSeconds(server.pid)
    const memory = memoryMiB(server.pid).now
    const load = await bench.node('support/storm.ts', [String(at), bench.folder, values.window])
    const { connected = 0, failed = 0, open = 0, seconds = 1, p50 = 0, p99 = 0 } = await load.json()
    const cpuMillis = ((cpuSeconds(server.pid) - cpu) * 1_000) / count
    const memoryKiB = ((memoryMiB(server.pid).now - memory) * 1_024) / count
    await load.stop()
    await server.stop()
    if (connected !== count || open !== count)
      throw new Error(`${name}: of ${count} devices ${connected} came in and ${open} stayed (${failed} failed)`)
    return { name, rate: connected / seconds, connected, failed, open, p50, p99, cpuMillis, memoryKiB }
  }
} finally {
  await bench.close()
}

/** Certificates, and a Sluice that knows them: one port, MQTT over TLS, no rules, no workers. */
async function prepare(folder: string): Promise<{ config: string; port: number }> {
  const { authority, server, key, certificates } = await makeDevices(count)
  const port = await freePort()
  const allow = (action: string, resource: string) => ({ Effect: 'Allow', Action: action, Resource: resource })
  const files: Record<string, string> = {
    'authority.pem': authority,
    'server.pem': server.certificate,
    'server.key': server.key,
    'device.key': key,
    'devices.json': JSON.stringify(certificates.map(({ name, pem }) => ({ name, pem }))),
    'sluice.yaml': JSON.stringify({
      listen: { mqtts: { port } },
      tls: { certificates: [{ certificate: './server.pem', key: './server.key' }] },
      log: { format: 'json' },
    }),
    'identity/devices.yaml': JSON.stringify({
      certificateAuthorities: [{ name: 'bench', certificate: '../authority.pem' }],
      things: certificates.map(({ name }) => ({ name })),
      principals: certificates.map(({ name, fingerprint }) => ({
        name,
        thing: name,
        policies: ['own'],
        x509: { fingerprint },
      })),
      policies: {
        own: {
          Version: '2012-10-17',
          Statement: [
            allow('iot:Connect', 'arn:aws:iot:*:*:client/${iot:Connection.Thing.ThingName}'),
            allow('iot:Publish', 'arn:aws:iot:*:*:topic/things/${iot:Connection.Thing.ThingName}/*'),
          ],
        },
      },
    }),
  }
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(folder, name, '..'), { recursive: true })
    await writeFile(join(folder, name), text)
  }
  return { config: join(folder, 'sluice.yaml'), port }
}

function report(rows: readonly Row[]): void {
  const best = (name: string) => rows.filter((row) => row.name === name).toSorted((a, b) => b.rate - a.rate)[0]
  const [bare, ours] = [best('bare tls'), best('sluice')]
  if (bare === undefined || ours === undefined) throw new Error('a run is missing')
  const ratio = ours.rate / bare.rate
  if (values.json) return console.log(JSON.stringify({ devices: count, rounds, bare, ours, ratio }))
  console.log(`\n${count} mutual-TLS connections, ${values.window} handshakes at a time, best of ${rounds}\n`)
  for (const { name, rate, p50, p99, cpuMillis, memoryKiB } of [bare, ours]) {
    console.log(
      `${name.padEnd(12)}${Math.round(rate).toString().padStart(6)}/s  p50 ${p50.toFixed(0)} ms  p99 ${p99.toFixed(0)} ms  CPU a connection ${cpuMillis.toFixed(2)} ms  memory a connection ${memoryKiB.toFixed(0)} KiB`,
    )
  }
  console.log(`\nsluice / bare tls  ${ratio.toFixed(2)}`)
}
