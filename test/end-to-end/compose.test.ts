import { deepEqual, doesNotMatch, equal, match, ok } from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cp, mkdir, readdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { connect as connectPlainly } from 'node:net'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { DeleteMessageCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs'
import { startFauxqs } from 'fauxqs'
import { connectAsync, type IClientOptions } from 'mqtt'
import { parse } from 'yaml'
import { freePort, type Scope, temporaryFolder, until } from '../support/cleanup.ts'
import { suiteScope } from '../support/command.ts'
import { DoorClients, offWithin, type Shown } from '../support/door-clients.ts'
import { listening, run, type Running } from '../support/process.ts'
import { logLines, ready, sluice } from '../support/sluice.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

interface Service {
  readonly volumes?: readonly string[]
  readonly user?: string
  readonly read_only?: boolean
  readonly ports?: readonly { readonly published: number }[]
  readonly network_mode?: string
  readonly restart?: string
  readonly healthcheck?: { readonly test?: readonly string[] }
  readonly mem_limit?: unknown
  readonly build?: unknown
  readonly image?: string
  readonly pull_policy?: string
  readonly logging?: { readonly options?: Readonly<Record<string, string>> }
  readonly cap_drop?: readonly string[]
  readonly security_opt?: readonly string[]
  readonly pids_limit?: unknown
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
  const mountsOf = ({ volumes = [] }: Service) => volumes.map((volume) => volume.split(':')[0] ?? '')

  test('has ingest and one container a worker', () =>
    deepEqual(ours.map(([name]) => name).toSorted(), ['ingest', 'worker-alerts', 'worker-archive']))

  for (const [name, service] of ours) {
    test(`${name} is not root, writes nowhere but its data, is bounded, and is asked for its health`, () => {
      match(service.user ?? '', /^1000:/)
      equal(service.read_only, true)
      equal(service.mem_limit !== undefined && service.healthcheck !== undefined, true)
      const writable = (service.volumes ?? []).filter((volume) => !volume.endsWith(':ro'))
      deepEqual(
        writable.map((volume) => volume.split(':')[1]),
        ['/data'],
      )
    })
    test(`${name} mounts its own secrets and no one else’s`, () => {
      const mounted = (service.volumes ?? []).filter((volume) => volume.includes('/run/secrets'))
      equal(mounted.length, 1)
      match(mounted[0] ?? '', new RegExp(`deploy/generated/${name.replace('worker-', '')}:/run/secrets:ro$`))
    })
  }

  for (const [name, service] of Object.entries(services)) {
    test(`${name} has no more rights than it needs, a bounded log, and bounded resources`, () => {
      equal(service.read_only, true)
      deepEqual(service.cap_drop, ['ALL'])
      deepEqual(service.security_opt, ['no-new-privileges:true'])
      match(service.user ?? '', name === 'setup' ? /^0:0$/ : /^[1-9]\d*:[1-9]\d*$/)
      ok(service.mem_limit !== undefined && service.pids_limit !== undefined)
      match(service.logging?.options?.['max-size'] ?? '', /^\d+m$/)
    })
  }

  test('one service builds the image of all, and nobody asks a registry for it', () => {
    const own = Object.entries(services).filter(([, { image }]) => image === 'sluice:local')
    deepEqual(own.map(([name]) => name).toSorted(), ['ingest', 'setup', 'worker-alerts', 'worker-archive'])
    deepEqual(
      own.filter(([, { build }]) => build !== undefined).map(([name]) => name),
      ['setup'],
    )
    for (const [name, { pull_policy }] of own) equal(pull_policy, 'never', name)
  })

  test('publishes the three ports that speak TLS to devices, and no other', () => {
    const published = Object.entries(services).flatMap(([name, { ports = [] }]) =>
      ports.map((port) => `${name} ${port.published}`),
    )
    deepEqual(published.toSorted(), ['ingest 8443', 'ingest 8884', 'mosquitto 8883'])
  })

  test('the CA’s key is mounted where it is used once and without a network, and nowhere else', () => {
    const generated = join(root, 'deploy/generated')
    const holders = Object.entries(services).filter(([, service]) =>
      mountsOf(service).some((path) => generated.startsWith(path) || path.startsWith(join(generated, 'ca'))),
    )
    deepEqual(
      holders.map(([name]) => name),
      ['setup'],
    )
    deepEqual([services['setup']?.network_mode, services['setup']?.restart], ['none', undefined])
  })

  test('a device’s key is mounted nowhere else either', () => {
    const devices = join(root, 'deploy/generated/devices')
    for (const service of Object.values(services)) equal(mountsOf(service).includes(devices), false)
  })
})

// There is no engine where the tests run: the same programs with the same files, as plain processes. What compose would mount
// is put beside them, and the names of its network become addresses here.
describe('what compose runs, as processes', () => {
  const scope = suiteScope()
  let folder: string
  let generated: string
  let ports: Readonly<Record<'mosquitto' | 'certificates' | 'redis' | 'https' | 'mqtts', number>>
  let parts: Record<'ingest' | 'alerts' | 'archive', { readonly config: string; readonly running: Running }>
  let mosquitto: Running
  let clients: DoorClients
  let nextAlert: () => Promise<Record<string, unknown>>
  let written: readonly string[]

  before(async () => {
    folder = await temporaryFolder(scope)
    generated = join(folder, 'generated')
    // d-9 has a certificate, and stands in no file of identity/.
    execFileSync(process.execPath, [join(root, 'deploy/setup.js'), generated, '--device', 'd-9'])
    // Another CA of the same name, and its d-1.
    execFileSync(process.execPath, [join(root, 'deploy/setup.js'), join(folder, 'stranger')])
    ports = {
      mosquitto: await freePort(),
      certificates: await freePort(),
      redis: await freePort(),
      https: await freePort(),
      mqtts: await freePort(),
    }
    const sqs = await startFauxqs({ port: 0, logger: false, init: join(root, 'deploy/sqs/init.json') })
    scope.after(() => sqs.stop())
    nextAlert = alertsOf(scope, sqs.port)
    await startRedisOfCompose(scope, folder, generated, ports.redis)
    mosquitto = await startMosquittoOfCompose(scope, folder, generated, ports)

    const part = async (name: string, ...parameters: string[]) => {
      const config = await placed(folder, name, {
        '/run/secrets': join(generated, name),
        '/certs': join(generated, 'certs'),
        '/device-certs': join(generated, 'device-certs'),
        '/data': join(folder, `data-${name}`),
        'mosquitto:8883': `localhost:${ports.mosquitto}`,
        'redis:6379': `localhost:${ports.redis}`,
        'sqs:4566': `127.0.0.1:${sqs.port}`,
        'port: 8443': `port: ${ports.https}`,
        'port: 8884': `port: ${ports.mqtts}`,
      })
      return { config, running: sluice(scope, config, parameters, { env: { REDIS_USER: name } }) }
    }
    parts = {
      ingest: await part('ingest', 'ingest'),
      alerts: await part('alerts', 'worker', 'alerts'),
      archive: await part('archive', 'worker', 'archive'),
    }
    written = await filesBeside()
    await Promise.all(Object.values(parts).map(({ running }) => ready(running)))
    await bridgeIsConnected()
    const { https, mqtts } = ports
    clients = new DoorClients(scope, { http: 0, mqtt: 0, https, mqtts }, await readFile(fileOf('certs/ca.crt'), 'utf8'))
  })

  const bridgeIsConnected = () =>
    until(
      `the bridge is connected: ${parts.ingest.running.output()}`,
      () => logLines(parts.ingest.running).some(({ msg }) => msg === 'connected'),
      20_000,
    )
  const fileOf = (file: string) => join(generated, file)
  const shownBy = async (device: string, from = generated): Promise<Shown> => ({
    certificate: {
      pem: await readFile(join(from, `device-certs/${device}.crt`), 'utf8'),
      key: await readFile(join(from, `devices/${device}.key`), 'utf8'),
    },
    clientId: device,
  })
  /** All that is there but the data of the parts and of the servers. */
  const filesBeside = async () =>
    (await readdir(folder, { recursive: true }))
      .filter((name) => !/^(?:data-\w+|redis|mosquitto)(?:\/|$)/.test(name))
      .toSorted()
  const archived = () => readFile(join(folder, 'data-archive/archive.ndjson'), 'utf8').catch(() => '')

  /** Both workers have it: SQS gets what the rule made, the archive the payload as it came. */
  async function comesOut(celsius: number): Promise<void> {
    const { at, ...rest } = await nextAlert()
    deepEqual([typeof at, rest], ['number', { thing: 'd-1', celsius }])
    await until(`${celsius} in the archive`, async () => (await archived()).includes(`{"celsius":${celsius}}\n`))
  }

  async function toMosquitto(port: number, options: IClientOptions) {
    const ca = await readFile(fileOf('certs/ca.crt'))
    const fixed = { ca, protocolVersion: 5, reconnectPeriod: 0, connectTimeout: 8_000 } as const
    const client = await connectAsync(`mqtts://localhost:${port}`, { ...fixed, ...options })
    scope.after(() => client.endAsync(true))
    return client
  }

  test('the health of ingest and of a worker is asked as compose asks', async () => {
    const services = composed()
    for (const [service, data] of [
      ['ingest', 'ingest'],
      ['worker-alerts', 'alerts'],
    ] as const) {
      const [kind, node, ...parameters] = services[service]?.healthcheck?.test ?? []
      deepEqual([kind, node], ['CMD', 'node'])
      const places = [
        ['/app/', root],
        ['/data/', `${join(folder, `data-${data}`)}/`],
      ] as const
      const placed = parameters.map((each) => places.reduce((text, [from, to]) => text.replace(from, to), each))
      const health = run(scope, process.execPath, placed)
      equal(await health.ended(), 0, `${placed.join(' ')}: ${health.output()} | ${parts.ingest.running.output()}`)
    }
  })

  test('a worker is called by its name in its log, though its Redis user has the same', () => {
    const [{ worker } = {}] = logLines(parts.alerts.running).filter(({ msg }) => msg === 'worker started')
    equal(worker, 'alerts')
  })

  test('an operator asks it about certificates and policies, where it runs', async () => {
    const ask = async (...parameters: string[]) => {
      const asked = sluice(scope, parts.ingest.config, parameters, { env: { REDIS_USER: 'x' } })
      return [await asked.ended(), asked.output()] as const
    }
    const [listed, list] = await ask('certificates', 'ls')
    equal(listed, 0, list)
    match(list, /ACTIVE +d-1 +d-1 .*identity\//)
    const simulate = ['policy', 'simulate', '--principal', 'd-1', '--action', 'iot:Publish', '--resource']
    equal((await ask(...simulate, 'devices/d-1/climate'))[0], 0)
    equal((await ask(...simulate, 'devices/d-2/climate'))[0], 1)
  })

  test('a device’s message goes from Mosquitto to SQS and to the archive', async () => {
    const password = (await readFile(fileOf('devices/d-1.password'), 'utf8')).trim()
    const device = await toMosquitto(ports.mosquitto, { username: 'd-1', password })
    // Mosquitto's ACL takes this one for granted and drops it: d-1 does not write under another's name.
    await device.publishAsync('devices/d-2/climate', '{"celsius":99}', { qos: 1 }).catch(() => undefined)
    await device.publishAsync('devices/d-1/climate', '{"celsius":31}', { qos: 1 })
    await comesOut(31)
  })

  test('what Mosquitto takes after its own restart, while ingest is away, waits for ingest', async () => {
    const { config, running } = parts.ingest
    equal(await running.stop(), 0, running.output())
    equal(await mosquitto.stop(), 0, mosquitto.output())
    mosquitto = await startMosquittoOfCompose(scope, folder, generated, ports)
    const password = (await readFile(fileOf('devices/d-1.password'), 'utf8')).trim()
    const device = await toMosquitto(ports.mosquitto, { username: 'd-1', password })
    await device.publishAsync('devices/d-1/climate', '{"celsius":31.5}', { qos: 1 })
    parts.ingest = { config, running: sluice(scope, config, ['ingest'], { env: { REDIS_USER: 'ingest' } }) }
    await ready(parts.ingest.running)
    await comesOut(31.5)
  })

  test('and with its certificate, where the lines for that are taken in', async () => {
    const { certificate } = await shownBy('d-1')
    ok(certificate)
    const device = await toMosquitto(ports.certificates, { cert: certificate.pem, key: certificate.key })
    await device.publishAsync('devices/d-2/climate', '{"celsius":98}', { qos: 1 }).catch(() => undefined)
    await device.publishAsync('devices/d-1/climate', '{"celsius":32}', { qos: 1 })
    await comesOut(32)
    const nobody = await toMosquitto(ports.certificates, {}).then(
      () => 'in',
      () => 'out',
    )
    equal(nobody, 'out')
  })

  test('the same device speaks to Sluice itself with its certificate: HTTPS', async () => {
    equal(await clients.post('https', await shownBy('d-1'), '/topics/devices/d-1/climate?qos=1', '{"celsius":33}'), 200)
    await comesOut(33)
  })

  test('MQTT over TLS, and over WebSocket', async () => {
    for (const [door, celsius] of [
      ['mqtts', 34],
      ['wss', 35],
    ] as const) {
      const { client, result } = await clients.connect(door, await shownBy('d-1'))
      equal(result, 'in', door)
      await client?.publishAsync('devices/d-1/climate', `{"celsius":${celsius}}`, { qos: 1 })
      await client?.endAsync()
      await comesOut(celsius)
    }
  })

  test('it may do nothing in another’s name', async () => {
    equal(await clients.post('https', await shownBy('d-1'), '/topics/devices/d-2/climate', '{"celsius":97}'), 403)
    equal((await clients.connect('mqtts', { ...(await shownBy('d-1')), clientId: 'd-2' })).result, 'code 5')
  })

  for (const [who, shown] of [
    ['nobody', async () => ({})],
    ['a stranger’s d-1', () => shownBy('d-1', join(folder, 'stranger'))],
    ['a certificate of the CA that identity/ doesn’t have', () => shownBy('d-9')],
    ['d-1 with its password for Mosquitto', () => passwordOfD1()],
  ] as const satisfies readonly (readonly [string, () => Promise<Shown>])[]) {
    test(`${who} comes in by no door`, async () => {
      const what = await shown()
      equal(await clients.post('https', what, '/topics/devices/d-1/climate', '{"celsius":96}'), 401)
      equal((await clients.connect('mqtts', what)).result, 'code 4')
      ok(['401', 'code 4'].includes((await clients.connect('wss', what)).result))
    })
  }

  async function passwordOfD1(): Promise<Shown> {
    const password = (await readFile(fileOf('devices/d-1.password'), 'utf8')).trim()
    return { username: 'd-1', password, clientId: 'd-1' }
  }

  test('ingest listens on its two TLS ports alone, workers on none', async (context) => {
    const said = logLines(parts.ingest.running).filter(({ msg }) => msg === 'listening')
    deepEqual(said.map(({ at }) => String(at)).toSorted(), [
      `https://0.0.0.0:${ports.https}`,
      `mqtts://0.0.0.0:${ports.mqtts}`,
    ])
    if (process.platform !== 'linux') return context.skip('what a process listens on is looked up in /proc')
    const own = await Promise.all(Object.values(parts).map(({ running }) => listeningPorts(running)))
    deepEqual(own, [[ports.https, ports.mqtts].toSorted((a, b) => a - b), [], []])
  })

  test('no port answers in plain text', async () => {
    const connect = Buffer.from('\x10\x0f\0\x04MQTT\x04\x02\0\x3c\0\x03d-1', 'latin1')
    const http = Buffer.from('GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n')
    for (const [name, port] of Object.entries(ports)) {
      for (const bytes of [connect, http, Buffer.from('PING\r\n')]) {
        const answer = await answerTo(port, bytes)
        // A TLS alert, or nothing.
        ok(answer.length === 0 || answer[0] === 0x15, `${name}: ${answer.toString('latin1')}`)
      }
    }
  })

  test('a device that is REVOKED in identity/ is off, and stays out', async () => {
    const { client } = await clients.connect('mqtts', await shownBy('d-1'))
    ok(client)
    const fleet = join(folder, 'config-ingest/identity/fleet.yaml')
    const text = await readFile(fleet, 'utf8')
    await writeFile(fleet, text.replace('d-1.crt }', 'd-1.crt, status: REVOKED }'))
    ok((await offWithin(client, 10_000)) >= 0)
    equal(await clients.post('https', await shownBy('d-1'), '/topics/devices/d-1/climate', '{"celsius":95}'), 401)
  })

  test('nothing was written but in the data folders, Redis refused no command, and all stop cleanly', async () => {
    for (const [name, { running }] of Object.entries(parts)) {
      equal(await running.stop(), 0, running.output())
      doesNotMatch(running.output(), /NOPERM/, name)
    }
    deepEqual(await filesBeside(), written)
    deepEqual(
      (await archived()).split('\n').filter((line) => line !== ''),
      [31, 31.5, 32, 33, 34, 35].map((celsius) => `{"celsius":${celsius}}`),
    )
  })
})

/** Takes one alert after the other off the queue. */
function alertsOf(scope: Scope, port: number): () => Promise<Record<string, unknown>> {
  const client = new SQSClient({
    region: 'eu-west-1',
    endpoint: `http://127.0.0.1:${port}`,
    credentials: { accessKeyId: 'x', secretAccessKey: 'x' },
  })
  scope.after(() => client.destroy())
  const QueueUrl = `http://127.0.0.1:${port}/000000000000/alerts.fifo`
  return () =>
    until(
      'an alert',
      async () => {
        const [message] = (await client.send(new ReceiveMessageCommand({ QueueUrl }))).Messages ?? []
        if (message?.Body === undefined) return undefined
        await client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: message.ReceiptHandle }))
        return JSON.parse(message.Body) as Record<string, unknown>
      },
      20_000,
    )
}

/** The TCP ports that a process listens on, on whatever address, sorted. Linux. */
async function listeningPorts({ child }: Running): Promise<readonly number[]> {
  const descriptors = `/proc/${child.pid}/fd`
  const links = await Promise.all(
    (await readdir(descriptors)).map((name) => readlink(join(descriptors, name)).catch(() => '')),
  )
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((table) => readFile(`/proc/net/${table}`, 'utf8').catch(() => '')),
  )
  const rows = tables.flatMap((table) => table.split('\n').map((line) => line.trim().split(/\s+/)))
  // Columns of proc(5): local address, state (0A is LISTEN), inode.
  const own = rows.filter((row) => row[3] === '0A' && links.includes(`socket:[${row[9]}]`))
  return own.map((row) => Number.parseInt(row[1]?.split(':')[1] ?? '', 16)).toSorted((a, b) => a - b)
}

/** What comes back for bytes that are no TLS, until the other side closes. */
function answerTo(port: number, bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve) => {
    const parts: Buffer[] = []
    const socket = connectPlainly(port, '127.0.0.1', () => socket.write(bytes))
    socket.on('data', (part: Buffer) => parts.push(part))
    socket.on('error', () => {})
    socket.setTimeout(15_000, () => socket.destroy())
    socket.on('close', () => resolve(Buffer.concat(parts)))
  })
}

/** The configuration as one container sees it. */
async function placed(folder: string, name: string, replacements: Readonly<Record<string, string>>): Promise<string> {
  const target = join(folder, `config-${name}`)
  await cp(join(root, 'deploy/sluice'), target, { recursive: true })
  const files = ['sluice.yaml', 'workers/alerts.yaml', 'workers/archive.yaml', 'identity/fleet.yaml']
  for (const file of files) {
    const path = join(target, file)
    let text = await readFile(path, 'utf8')
    for (const [from, to] of Object.entries(replacements)) text = text.replaceAll(from, to)
    await writeFile(path, text)
  }
  await mkdir(replacements['/data'] ?? '', { recursive: true })
  return join(target, 'sluice.yaml')
}

async function startRedisOfCompose(scope: Scope, folder: string, generated: string, port: number): Promise<void> {
  const text = await readFile(join(root, 'deploy/redis/redis.conf'), 'utf8')
  const data = join(folder, 'redis')
  await mkdir(data)
  const own = text
    .replaceAll('/secrets/', `${join(generated, 'redis')}/`)
    .replace('tls-port 6379', `tls-port ${port}\ndir ${data}`)
    .replace('bind * -::*', 'bind 127.0.0.1')
  await writeFile(join(data, 'redis.conf'), own)
  await listening(port, run(scope, 'redis-server', [join(data, 'redis.conf')]))
}

async function startMosquittoOfCompose(
  scope: Scope,
  folder: string,
  generated: string,
  ports: { readonly mosquitto: number; readonly certificates: number },
): Promise<Running> {
  const data = join(folder, 'mosquitto')
  await mkdir(data, { recursive: true })
  const text = await readFile(join(root, 'deploy/mosquitto/mosquitto.conf'), 'utf8')
  const own = text
    // With the lines for certificates taken in.
    .replaceAll(/^#(?=[a-z_]+ \S+$)/gm, '')
    .replace('listener 8883', `listener ${ports.mosquitto} 127.0.0.1`)
    .replace('listener 8885', `listener ${ports.certificates} 127.0.0.1`)
    .replaceAll('/certs/', `${join(generated, 'certs')}/`)
    .replaceAll('/secrets/', `${join(generated, 'mosquitto')}/`)
    .replace('/mosquitto/config/', `${join(root, 'deploy/mosquitto')}/`)
    .replace('/mosquitto/data/', `${data}/`)
  // As root it would give up its rights to a user that can't read a temporary folder.
  await writeFile(join(data, 'mosquitto.conf'), `user root\n${own}`)
  const running = run(scope, 'mosquitto', ['-c', join(data, 'mosquitto.conf')])
  for (const port of [ports.mosquitto, ports.certificates]) await listening(port, running)
  return running
}
