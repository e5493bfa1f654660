import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { connect, type TLSSocket } from 'node:tls'
import { type MadeAuthority, type MadeCertificate, openMaker } from '../identity/x509-makers.ts'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { ended, suiteScope } from '../support/command.ts'
import { DoorClients, type Shown } from '../support/door-clients.ts'
import { run, type Running } from '../support/process.ts'
import { logLines, ready, sluice, writeFiles } from '../support/sluice.ts'

// One port for everything, as AWS IoT's 443; certificates of one's own; what the bridge over HTTP shows.

const scope = suiteScope()
const accessKeyId = 'AKIDEXAMPLE000000001'
const secretAccessKey = 'a-secret-access-key-of-40-characters....'
let folder = ''
let port = 0
let running: Running
let authority: MadeAuthority
let clients: DoorClients
let gateway: MadeCertificate

const serverNames = ['subjectAltName=DNS:localhost,IP:127.0.0.1', 'extendedKeyUsage=serverAuth']
const newServer = () => authority.issue({ subject: '/CN=localhost', extensions: serverNames })

before(async () => {
  folder = await temporaryFolder(scope)
  port = await freePort()
  const maker = await openMaker(scope)
  authority = maker.authority('/CN=Own CA')
  gateway = authority.issue({ subject: '/CN=gateway', extensions: ['extendedKeyUsage=clientAuth'] })
  const server = newServer()
  const config = await writeFiles(folder, {
    'sluice.yaml': {
      arn: { region: 'eu-west-1' },
      listen: { https: { port, mqtt: true } },
      tls: { certificates: [{ certificate: './server.pem', key: './server.key' }] },
    },
    'server.pem': server.pem,
    'server.key': server.key,
    'gateway.pem': gateway.pem,
    'gateway.key': gateway.key,
    'ca.pem': authority.pem,
    'identity/all.yaml': {
      things: [{ name: 'd-1', policies: ['own'] }, { name: 'd-2' }],
      principals: [
        { name: 'gateway', policies: ['everything'], actsFor: ['d-*'], x509: { certificate: '../gateway.pem' } },
        { name: 'station', policies: ['everything'], sigv4: { accessKeyId, secretAccessKey } },
      ],
      policies: {
        everything: { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: 'iot:*', Resource: '*' }] },
        own: {
          Version: '2012-10-17',
          Statement: [
            {
              Effect: 'Allow',
              Action: 'iot:Publish',
              Resource: 'arn:aws:iot:*:*:topic/things/${iot:Connection.Thing.ThingName}/*',
            },
          ],
        },
      },
    },
  })
  running = sluice(scope, config, ['start'], { cwd: folder })
  await ready(running)
  clients = new DoorClients(scope, { http: 0, mqtt: 0, https: port, mqtts: port }, authority.pem)
})

const shown = (): Shown => ({ certificate: { pem: gateway.pem, key: gateway.key } })

describe('one port', () => {
  test('serves HTTPS, WebSockets, and MQTT by ALPN', async () => {
    equal(await clients.post('https', shown(), '/topics/a'), 200)
    equal((await clients.connect('wss', shown())).result, 'in')
    for (const alpn of ['mqtt', 'x-amzn-mqtt-ca'])
      equal((await clients.connect('mqtts', { ...shown(), alpn })).result, 'in')
    equal(await clients.post('https', { ...shown(), alpn: 'x-amzn-http-ca' }, '/topics/a'), 200)
  })

  test('a message published over one door comes out of another', async () => {
    const { client: subscriber } = await clients.connect('wss', { ...shown(), clientId: 's' })
    const { client: publisher } = await clients.connect('mqtts', { ...shown(), clientId: 'p', alpn: 'x-amzn-mqtt-ca' })
    ok(subscriber)
    ok(publisher)
    const got: string[] = []
    subscriber.on('message', (topic, payload) => got.push(`${topic} ${payload.toString('utf8')}`))
    await subscriber.subscribeAsync('b/#', { qos: 1 })
    await publisher.publishAsync('b/1', 'x', { qos: 1 })
    await until('it arrives', () => got.length === 1)
    deepEqual(got, ['b/1 x'])
    equal(await clients.post('https', shown(), '/topics/b/2?retain=true'), 200)
    await until('what came over HTTP arrives', () => got.length === 2)
    const { client: late } = await clients.connect('wss', { ...shown(), clientId: 'late' })
    late?.on('message', (topic, payload, { retain }) => got.push(`${topic} ${payload.toString('utf8')} ${retain}`))
    await late?.subscribeAsync('b/2', { qos: 1 })
    await until('and is retained', () => got.length === 3)
    deepEqual(got, ['b/1 x', 'b/2 x', 'b/2 x true'])
  })
})

describe('the bridge over HTTPS', () => {
  test('with a client certificate speaks for the things that it may', async () => {
    const messages = [
      { topic: 'things/d-1/climate', payload: 1, thing: 'd-1', qos: 1 },
      { topic: 'things/d-2/climate', payload: 1, thing: 'd-1', qos: 1 },
      { topic: 'things/d-2/climate', payload: 1, thing: 'd-2', qos: 1 },
      { topic: 'things/e-1/climate', payload: 1, thing: 'e-1', qos: 1 },
    ]
    const { status, text } = await clients.answer('https', shown(), '/messages', JSON.stringify(messages))
    equal(status, 200)
    const { results } = JSON.parse(text) as { results: { status: number }[] }
    deepEqual(
      results.map((result) => result.status),
      [200, 403, 403, 403],
    )
  })
})

test('curl --aws-sigv4 works against it', async (context) => {
  const parameters = (secret: string) => [
    '-sS',
    '--cacert',
    join(folder, 'ca.pem'),
    '--user',
    `${accessKeyId}:${secret}`,
    '--aws-sigv4',
    'aws:amz:eu-west-1:iotdata',
    '-H',
    'content-type: application/json',
    '-d',
    '{"hello":"world"}',
    `https://localhost:${port}/topics/device%2Fmessage?qos=1`,
  ]
  const right = await ended(run(context, 'curl', parameters(secretAccessKey)))
  equal(right.code, 0, right.stderr)
  equal((JSON.parse(right.stdout) as { message: string }).message, 'OK')
  const wrong = await ended(run(context, 'curl', parameters('another-secret')))
  equal((JSON.parse(wrong.stdout) as { message: string }).message, 'missing or wrong credentials')
})

describe('certificates that change on the disk', () => {
  const served = async (): Promise<string> => {
    const socket = await secure()
    const certificate = socket.getPeerX509Certificate()
    socket.destroy()
    return certificate?.fingerprint256 ?? ''
  }
  const secure = (): Promise<TLSSocket> =>
    new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', ca: authority.pem }, () =>
        resolve(socket),
      )
      socket.on('error', reject)
      scope.after(() => socket.destroy())
    })
  const replace = async (name: string, text: string): Promise<void> => {
    await writeFile(join(folder, `${name}.new`), text)
    await rename(join(folder, `${name}.new`), join(folder, name))
  }

  test('are served to new connections, and the old ones go on', async () => {
    const before = await served()
    const { client } = await clients.connect('mqtts', { ...shown(), clientId: 'stays', alpn: 'x-amzn-mqtt-ca' })
    ok(client)
    const next = newServer()
    await replace('server.pem', next.pem)
    await replace('server.key', next.key)
    const fingerprint = new X509Certificate(next.pem).fingerprint256
    notEqual(fingerprint, before)
    await until('the new one is served', async () => (await served()) === fingerprint)
    await client.publishAsync('b/2', 'x', { qos: 1 })
    ok(client.connected)
  })

  test('and do not fit leave the old ones in force, and the log says which file', async () => {
    const before = await served()
    await replace('server.key', newServer().key)
    await until('the log says so', () =>
      logLines(running).some((line) => JSON.stringify(line).includes('tls.certificates.0.key does not belong')),
    )
    equal(await served(), before)
  })

  test('the log holds no key', () => {
    equal(running.output().includes('PRIVATE KEY'), false)
    match(running.output(), /server\.key/)
  })
})
