import { deepEqual, equal, match } from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { connectAsync } from 'mqtt'
import { callControl } from '../../src/admin/client.ts'
import type { IngestStatus } from '../../src/app/status.ts'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { command } from '../support/command.ts'
import { startHttpTarget } from '../support/http-target.ts'
import { listening, run } from '../support/process.ts'
import { oneForEverything, post, ready, sluice, writeFiles } from '../support/sluice.ts'

const token = 'a-token-for-this-test'

test(
  'a broker that is absent at start and goes away later: it is said, the other doors go on, and all recovers by itself',
  { timeout: 60_000 },
  async (context) => {
    const [folder, http, mqtt, hook] = [
      await temporaryFolder(context),
      await freePort(),
      await freePort(),
      await startHttpTarget(context),
    ]
    const config = await writeFiles(folder, {
      'sluice.yaml': {
        listen: { http: { port: http } },
        bridges: [{ name: 'plant', url: `mqtt://127.0.0.1:${mqtt}`, topics: ['t/#'] }],
      },
      'identity/all.yaml': oneForEverything(token),
      'rules/all.yaml': 'from: t/#\nto: [{ worker: hook }]\n',
      'workers/hook.yaml': { kind: 'http', url: hook.url },
      'mosquitto.conf': `listener ${mqtt} 127.0.0.1\nallow_anonymous true\n`,
    })
    const running = sluice(context, config, ['start'], { cwd: folder })
    await ready(running)
    const bridgeState = async () => {
      const { body } = await callControl(join(folder, 'data/control.sock'), 'GET', '/status')
      return (body as IngestStatus).bridges[0]?.state ?? ''
    }
    const isConnected = async () => (await bridgeState()).startsWith('connected')
    const delivered = () => hook.received.map(({ body }) => body.toString())

    equal((await post(http, token, 't/1', 'without a broker')).status, 200)
    match(running.output(), new RegExp(`127\\.0\\.0\\.1:${mqtt}`), 'the log names the broker that is away')
    match((await command(context, folder, ['status'])).stdout, /^bridge {3}plant: not connected: .*ECONNREFUSED/m)

    const broker = async () => {
      const server = run(context, 'mosquitto', ['-c', join(folder, 'mosquitto.conf')])
      await listening(mqtt, server)
      return server
    }
    const first = await broker()
    await until('the bridge is connected', isConnected, 30_000)
    const publish = async (text: string) => {
      const client = await connectAsync(`mqtt://127.0.0.1:${mqtt}`, { protocolVersion: 4, reconnectPeriod: 0 })
      await client.publishAsync('t/2', text, { qos: 1 })
      await client.endAsync()
    }
    await publish('through the broker')
    await until('it is delivered', () => delivered().includes('through the broker'))

    await first.stop('SIGKILL')
    equal((await post(http, token, 't/3', 'while it is away')).status, 200)
    await until('the state says so', async () => !(await isConnected()))
    await broker()
    await until('the bridge is connected again', isConnected, 30_000)
    await publish('after it came back')
    await until('all is delivered', () => delivered().includes('after it came back'))
    deepEqual(
      new Set(delivered()),
      new Set(['without a broker', 'through the broker', 'while it is away', 'after it came back']),
    )
    equal(await running.stop(), 0, running.output())
  },
)
