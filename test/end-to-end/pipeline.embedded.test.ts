import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { connect, type MqttClient } from 'mqtt'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { emptiedLedger } from '../support/ledger.ts'
import { startReceiver } from '../support/receiver.ts'
import { ownTelemetry, principalEntry, ready, sluice, writeFiles } from '../support/sluice.ts'

const messages = 20_000
const things = 200

// The same on what runs with nothing installed: the embedded broker and queue, one process, killed in the middle.
test(
  'embedded broker → rules → embedded queue → http: nothing acknowledged is missing after kill -9',
  { timeout: 150_000 },
  async (context) => {
    const [folder, port, receiver] = [await temporaryFolder(context), await freePort(), await startReceiver(context)]
    const names = Array.from({ length: things }, (_, index) => `d-${index}`)
    const config = await writeFiles(folder, {
      'sluice.yaml': { listen: { mqtt: { port } }, limits: { publishesPerSecond: 10_000, bytesPerSecond: '64MiB' } },
      'identity/things.yaml': {
        things: names.map((name) => ({ name })),
        principals: names.map((name) =>
          principalEntry(name, `token-of-${name}`, { thing: name, policies: ['telemetry'] }),
        ),
        policies: {
          telemetry: ownTelemetry,
        },
      },
      'rules/all.yaml': `from: devices/+/telemetry\nselect: '{ "n": n, "thing": $topic(2) }'\nto: [{ worker: hook }]\n`,
      'workers/hook.yaml': { kind: 'http', url: receiver.url, batch: 'json-array' },
    })
    let running = sluice(context, config, ['start'])
    await ready(running)

    // Each thing is a client of its own, which publishes its share one after the other and comes back by itself.
    const clients = names.map((name) =>
      connect(`mqtt://127.0.0.1:${port}`, {
        protocolVersion: 4,
        clientId: name,
        username: name,
        password: `token-of-${name}`,
        reconnectPeriod: 200,
        clean: true,
      }),
    )
    context.after(async () => void (await Promise.all(clients.map((client) => client.endAsync(true)))))
    const acknowledged = new Set<number>()
    const publishing = Promise.all(
      clients.map((client, index) => publishShare(client, names[index] ?? '', index, acknowledged)),
    )
    await until('a third has come through', () => receiver.seen.size > messages / 3, 60_000)
    await running.stop('SIGKILL')
    running = sluice(context, config, ['start'])
    await ready(running)
    await publishing

    equal(acknowledged.size, messages)
    const arrived = () => new Set([...receiver.seen.keys()].map((body) => (JSON.parse(body) as { n: number }).n))
    await until('all have come through', () => arrived().size === messages, 60_000)
    deepEqual(
      [...arrived()].toSorted((a, b) => a - b),
      Array.from({ length: messages }, (_, index) => index),
    )
    const [row, ...others] = await emptiedLedger(context, folder)
    deepEqual([row?.rule, row?.worker, others], ['all', 'hook', []])
    // What was in the queue and not yet acknowledged at the kill is published once more.
    ok((row?.accepted ?? 0) >= messages && row?.delivered === row?.accepted, JSON.stringify(row))
    equal(await running.stop(), 0, running.output())
  },
)

async function publishShare(client: MqttClient, name: string, index: number, acknowledged: Set<number>): Promise<void> {
  for (let n = index; n < messages; n += things) {
    // mqtt.js keeps what is not acknowledged and sends it again over the next connection [MQTT-4.4.0-1].
    await client.publishAsync(`devices/${name}/telemetry`, JSON.stringify({ n }), { qos: 1 })
    acknowledged.add(n)
  }
}
