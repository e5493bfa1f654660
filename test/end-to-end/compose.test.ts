import { deepEqual, equal, match } from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs'
import { startFauxqs } from 'fauxqs'
import { connectAsync } from 'mqtt'
import { parse } from 'yaml'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { listening, run } from '../support/process.ts'
import { logLines, ready, sluice } from '../support/sluice.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

interface Service {
  readonly volumes?: readonly string[]
  readonly user?: string
  readonly read_only?: boolean
  readonly ports?: readonly unknown[]
  readonly networks?: unknown
  readonly healthcheck?: unknown
  readonly mem_limit?: unknown
  readonly command?: readonly string[]
}

/** The file as docker-compose itself understands it: anchors merged, defaults in. */
function composed(): Readonly<Record<string, Service>> {
  const text = execFileSync('docker-compose', ['-f', join(root, 'docker-compose.yml'), 'config'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return (parse(text) as { services: Record<string, Service> }).services
}

describe('docker-compose.yml', () => {
  const services = composed()
  const ours = Object.entries(services).filter(([name]) => name === 'ingest' || name.startsWith('worker-'))

  test('has ingest and one container a worker', () =>
    deepEqual(ours.map(([name]) => name).toSorted(), ['ingest', 'worker-alerts', 'worker-archive']))

  for (const [name, service] of ours) {
    test(`${name} is not root, writes nowhere but its data, is bounded, and is asked for its health`, () => {
      match(service.user ?? '', /^1000:/)
      equal(service.read_only, true)
      equal(service.mem_limit !== undefined && service.healthcheck !== undefined, true)
    })
    test(`${name} mounts its own secrets and no one else’s`, () => {
      const mounted = (service.volumes ?? []).filter((volume) => volume.includes('/run/secrets'))
      equal(mounted.length, 1)
      match(mounted[0] ?? '', new RegExp(`deploy/generated/${name.replace('worker-', '')}:/run/secrets:ro$`))
    })
    test(`${name} publishes no port`, () => equal(service.ports, undefined))
  }
})

// There is no engine where the tests run: the same programs with the same files, as plain processes. What compose would mount
// is put beside them, and the names of its network become addresses here.
test(
  'what compose runs, as processes: a device’s message goes from Mosquitto to SQS and to the archive',
  { timeout: 90_000 },
  async (context) => {
    const folder = await temporaryFolder(context)
    const generated = join(folder, 'generated')
    execFileSync(process.execPath, [join(root, 'deploy/setup.js'), generated])
    const ports = { mosquitto: await freePort(), redis: await freePort() }
    const sqs = await startFauxqs({ port: 0, logger: false, init: join(root, 'deploy/sqs/init.json') })
    context.after(() => sqs.stop())
    await startRedisOfCompose(context, folder, generated, ports.redis)
    await startMosquittoOfCompose(context, folder, generated, ports.mosquitto)

    const part = async (name: string, ...parameters: string[]) => {
      const config = await placed(folder, name, {
        '/run/secrets': join(generated, name),
        '/certs': join(generated, 'certs'),
        '/data': join(folder, `data-${name}`),
        'mosquitto:8883': `localhost:${ports.mosquitto}`,
        'redis:6379': `127.0.0.1:${ports.redis}`,
        'sqs:4566': `127.0.0.1:${sqs.port}`,
        'port: 8080': `port: ${await freePort()}`,
      })
      return { config, running: sluice(context, config, parameters, { env: { REDIS_USER: name } }) }
    }
    const ingest = await part('ingest', 'ingest')
    const alerts = await part('alerts', 'worker', 'alerts')
    const archive = await part('archive', 'worker', 'archive')
    await Promise.all([ingest, alerts, archive].map(({ running }) => ready(running)))
    await until(
      `the bridge is connected: ${ingest.running.output()}`,
      () => logLines(ingest.running).some(({ msg }) => msg === 'connected'),
      20_000,
    )
    for (const [{ config }, parameters] of [
      [ingest, ['health']],
      [alerts, ['health', '--worker', 'alerts']],
    ] as const) {
      const health = sluice(context, config, parameters, { env: { REDIS_USER: 'x' } })
      equal(await health.ended(), 0, `${config}: ${health.output()} | ${ingest.running.output()}`)
    }

    const ca = await readFile(join(generated, 'certs/ca.crt'))
    const password = (await readFile(join(generated, 'device/password'), 'utf8')).trim()
    const device = await connectAsync(`mqtts://localhost:${ports.mosquitto}`, {
      ca,
      username: 'd-1',
      password,
      protocolVersion: 5,
      reconnectPeriod: 0,
    })
    context.after(() => device.endAsync(true))
    await device.publishAsync('devices/d-1/climate', '{"celsius":31}', { qos: 1 })
    // Mosquitto's ACL takes this one for granted and drops it: d-1 does not write under another's name.
    await device.publishAsync('devices/d-2/climate', '{"celsius":99}', { qos: 1 }).catch(() => undefined)

    const client = new SQSClient({
      region: 'eu-west-1',
      endpoint: `http://127.0.0.1:${sqs.port}`,
      credentials: { accessKeyId: 'x', secretAccessKey: 'x' },
    })
    const QueueUrl = `http://127.0.0.1:${sqs.port}/000000000000/alerts.fifo`
    const alert = await until(
      'an alert',
      async () => (await client.send(new ReceiveMessageCommand({ QueueUrl }))).Messages?.[0]?.Body,
      20_000,
    )
    client.destroy()
    const { at, ...rest } = JSON.parse(alert) as Record<string, unknown>
    deepEqual([typeof at, rest], ['number', { thing: 'd-1', celsius: 31 }])
    const line = await until(
      'a line in the archive',
      async () => (await readFile(join(folder, 'data-archive/archive.ndjson'), 'utf8').catch(() => '')) || undefined,
    )
    equal(line, '{"celsius":31}\n')
    for (const { running } of [ingest, alerts, archive]) equal(await running.stop(), 0, running.output())
  },
)

/** The configuration as one container sees it. */
async function placed(folder: string, name: string, replacements: Readonly<Record<string, string>>): Promise<string> {
  const target = join(folder, `config-${name}`)
  await cp(join(root, 'deploy/sluice'), target, { recursive: true })
  const files = ['sluice.yaml', 'workers/alerts.yaml', 'workers/archive.yaml']
  for (const file of files) {
    const path = join(target, file)
    let text = await readFile(path, 'utf8')
    for (const [from, to] of Object.entries(replacements)) text = text.replaceAll(from, to)
    await writeFile(path, text)
  }
  await mkdir(replacements['/data'] ?? '', { recursive: true })
  return join(target, 'sluice.yaml')
}

async function startRedisOfCompose(
  context: TestContext,
  folder: string,
  generated: string,
  port: number,
): Promise<void> {
  const text = await readFile(join(root, 'deploy/redis/redis.conf'), 'utf8')
  const data = join(folder, 'redis')
  await mkdir(data)
  const own = text
    .replace('/secrets', join(generated, 'redis'))
    .replace('port 6379', `port ${port}\ndir ${data}`)
    .replace('bind * -::*', 'bind 127.0.0.1')
  await writeFile(join(data, 'redis.conf'), own)
  await listening(port, run(context, 'redis-server', [join(data, 'redis.conf')]))
}

async function startMosquittoOfCompose(
  context: TestContext,
  folder: string,
  generated: string,
  port: number,
): Promise<void> {
  const data = join(folder, 'mosquitto')
  await mkdir(data)
  const text = await readFile(join(root, 'deploy/mosquitto/mosquitto.conf'), 'utf8')
  const own = text
    .replace('listener 8883', `listener ${port} 127.0.0.1`)
    .replaceAll('/certs/', `${join(generated, 'certs')}/`)
    .replace('/secrets/', `${join(generated, 'mosquitto')}/`)
    .replace('/mosquitto/config/', `${join(root, 'deploy/mosquitto')}/`)
    .replace('/mosquitto/data/', `${data}/`)
  // As root it would give up its rights to a user that can't read a temporary folder.
  await writeFile(join(data, 'mosquitto.conf'), `user root\n${own}`)
  await listening(port, run(context, 'mosquitto', ['-c', join(data, 'mosquitto.conf')]))
}
