import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect as tcp } from 'node:net'
import { describe, test } from 'node:test'
import { connectAsync } from 'mqtt'
import { generate, type Packet, parser } from 'mqtt-packet'
import { WebSocket } from 'ws'
import { createHttpDoor } from '../../src/ingest/http.ts'
import { createMqttBroker } from '../../src/ingest/mqtt-broker.ts'
import { type Scope, until } from '../support/cleanup.ts'
import { countedMetrics, fakeAccept, fakeAccess, linesLog } from '../support/doors.ts'
import { connectPacket } from '../support/raw-mqtt.ts'

async function open(scope: Scope) {
  const access = fakeAccess(['d-1', 'd-2'])
  const sink = fakeAccept()
  const metrics = countedMetrics()
  const log = linesLog()
  const common = { access: () => access, accept: sink.accept, acceptBatch: sink.acceptBatch, log, metrics }
  const broker = await createMqttBroker(common)
  const door = createHttpDoor({ ...common, ready: () => true, mqtt: (wire, arrival) => broker.handle(wire, arrival) })
  await door.listen({ host: '127.0.0.1', port: 0 })
  scope.after(async () => {
    await Promise.all([broker.close(200), door.close(200)])
  })
  return { broker, door, access, sink, metrics, log, port: door.address()?.port ?? 0 }
}

/** Sends an upgrade and gives the status of the answer, 101 where it became a WebSocket. */
function upgrade(port: number, path: string, headers: Readonly<Record<string, string>> = {}) {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>()
  const call = request({
    port,
    host: '127.0.0.1',
    path,
    headers: {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'sec-websocket-protocol': 'mqtt',
      ...headers,
    },
  })
  call.on('upgrade', (response, socket) => {
    socket.destroy()
    resolve({ status: response.statusCode ?? 0, body: '' })
  })
  call.on('response', (response) => {
    let body = ''
    response.setEncoding('utf8').on('data', (text: string) => (body += text))
    response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
  })
  call.on('error', reject)
  call.end()
  return promise
}

/** A WebSocket that speaks MQTT as the test says. */
async function openSocket(scope: Scope, port: number, headers: Readonly<Record<string, string>> = {}) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/mqtt`, ['mqtt'], { headers })
  scope.after(() => socket.terminate())
  socket.on('error', () => {})
  const got: Packet[] = []
  const reader = parser({ protocolVersion: 4 })
  reader.on('packet', (packet) => got.push(packet))
  socket.on('message', (data) => void reader.parse(data as Buffer))
  await once(socket, 'open')
  return { socket, got, send: (packet: Packet) => socket.send(generate(packet)) }
}

describe('MQTT over WebSocket', () => {
  test('a real client connects, subscribes and publishes; the protocol is mqtt-ws', async (t) => {
    const { port, sink } = await open(t)
    const client = await connectAsync(`ws://127.0.0.1:${port}/mqtt`, {
      protocolVersion: 4,
      clientId: 'd-1',
      username: 'd-1',
      password: 'd-1-secret',
      reconnectPeriod: 0,
    })
    t.after(() => client.endAsync(true))
    const got: string[] = []
    client.on('message', (topic, payload) => got.push(`${topic} ${payload.toString()}`))
    await client.subscribeAsync('a/+', { qos: 1 })
    const large = 'x'.repeat(100_000)
    await client.publishAsync('a/b', large, { qos: 1 })
    await until('it comes back', () => got.length === 1)
    equal(got[0], `a/b ${large}`)
    deepEqual(
      [sink.taken[0]?.speaker.protocol, sink.taken[0]?.speaker.principal.name, sink.taken[0]?.speaker.sourceIp],
      ['mqtt-ws', 'd-1', '127.0.0.1'],
    )
  })

  test('packets may be cut anywhere, and several may share a frame [MQTT-6.0.0-2]', async (t) => {
    const { port, sink } = await open(t)
    const { socket, got } = await openSocket(t, port)
    const bytes = Buffer.concat([
      generate(connectPacket('d-1')),
      generate({ cmd: 'publish', topic: 'a', payload: 'x', qos: 1, messageId: 1, dup: false, retain: false }),
      generate({ cmd: 'pingreq' }),
    ])
    for (const byte of bytes) socket.send(Buffer.from([byte]))
    await until('all are answered', () => got.length === 3)
    deepEqual(
      got.map(({ cmd }) => cmd),
      ['connack', 'pingresp', 'puback'],
    )
    equal(sink.taken.length, 1)
  })

  test('a text frame closes it [MQTT-6.0.0-1]', async (t) => {
    const { port } = await open(t)
    const { socket } = await openSocket(t, port)
    socket.send('hello')
    const [code] = (await once(socket, 'close')) as [number]
    equal(code, 1003)
  })

  test('a frame larger than any packet closes it before it is kept', async (t) => {
    const { port } = await open(t)
    const { socket } = await openSocket(t, port)
    socket.send(Buffer.alloc(4 * 1024 * 1024))
    const [code] = (await once(socket, 'close')) as [number]
    equal(code, 1009)
  })

  test('the subprotocol must be offered, and the path is /mqtt', async (t) => {
    const { port } = await open(t)
    equal((await upgrade(port, '/mqtt')).status, 101)
    equal((await upgrade(port, '/mqtt?x=1')).status, 101)
    const refused = await upgrade(port, '/mqtt', { 'sec-websocket-protocol': 'mqttv3.1' })
    equal(refused.status, 400)
    match(refused.body, /subprotocol mqtt/)
    equal((await upgrade(port, '/other')).status, 404)
  })

  test('without a broker there is no WebSocket', async (t) => {
    const access = fakeAccess()
    const options = {
      access: () => access,
      accept: fakeAccept().accept,
      acceptBatch: fakeAccept().acceptBatch,
      ready: () => true,
    }
    const door = createHttpDoor({ ...options, log: linesLog(), metrics: countedMetrics() })
    await door.listen({ host: '127.0.0.1', port: 0 })
    t.after(() => door.close(200))
    equal((await upgrade(door.address()?.port ?? 0, '/mqtt')).status, 404)
  })
})

describe('credentials of the upgrade', () => {
  test('prove the principal, and CONNECT needs none', async (t) => {
    const { port } = await open(t)
    const { got, send } = await openSocket(t, port, { authorization: 'Bearer d-2-secret' })
    send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, clientId: 'x', keepalive: 60 })
    await until('let in', () => got.length === 1)
    equal(got[0]?.cmd === 'connack' ? got[0].returnCode : undefined, 0)
  })

  test('are asked about again with the others, and nothing that CONNECT shows counts then', async (t) => {
    const { broker, port, access } = await open(t)
    const { socket, got, send } = await openSocket(t, port, { authorization: 'Bearer d-2-secret' })
    send(connectPacket('x', { username: 'd-1', password: Buffer.from('d-1-secret') }))
    await until('let in', () => got.length === 1)
    await broker.recheck()
    send({ cmd: 'pingreq' })
    await until('it stays', () => got.length === 2)
    access.tokens.delete('d-2')
    await broker.recheck()
    await until('it is off', () => socket.readyState === WebSocket.CLOSED)
  })

  test('that are not good any more when CONNECT comes are refused then', async (t) => {
    const { port, access } = await open(t)
    const { got, send } = await openSocket(t, port, { authorization: 'Bearer d-2-secret' })
    access.tokens.delete('d-2')
    send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, clientId: 'x', keepalive: 60 })
    await until('refused', () => got.length === 1)
    equal(got[0]?.cmd === 'connack' ? got[0].returnCode : undefined, 4)
  })

  test('that are wrong are refused at the upgrade, whatever CONNECT would show', async (t) => {
    const { port, metrics } = await open(t)
    const refused = await upgrade(port, '/mqtt', { authorization: 'Bearer d-2-secret-wrong' })
    equal(refused.status, 401)
    ok(!refused.body.includes('d-2'))
    equal(metrics.total('sluice_authentications_failed_total', { door: 'mqtt' }), 1)
  })

  test('of a custom authorizer that is named are judged at CONNECT alone', async (t) => {
    const { port, access } = await open(t)
    const seen: unknown[] = []
    const before = access.authenticate.bind(access)
    access.authenticate = (presented) => {
      seen.push([presented.clientId, presented.http?.headers['x-amz-customauthorizer-name']])
      return before(presented)
    }
    const headers = { 'x-amz-customauthorizer-name': 'tokens', authorization: 'Bearer of-the-authorizer' }
    const { got, send } = await openSocket(t, port, headers)
    send(connectPacket('d-1'))
    await until('an answer', () => got.length === 1)
    deepEqual(seen, [['d-1', 'tokens']])
  })

  test('are asked for at CONNECT where the upgrade shows none', async (t) => {
    const { port } = await open(t)
    const { got, send } = await openSocket(t, port)
    send(connectPacket('d-1', { password: Buffer.from('wrong') }))
    await until('refused', () => got.length === 1)
    equal(got[0]?.cmd === 'connack' ? got[0].returnCode : undefined, 4)
  })

  test('a client that goes away while it is being judged leaves nothing behind', async (t) => {
    const { port, access, metrics } = await open(t)
    const judged = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    access.authenticate = async () => {
      asked.resolve()
      await judged.promise
      return { kind: 'absent' }
    }
    const socket = tcp(port, '127.0.0.1')
    t.after(() => socket.destroy())
    socket.write(
      'GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n',
    )
    await asked.promise
    socket.resetAndDestroy()
    await new Promise((resolve) => setTimeout(resolve, 50))
    judged.resolve()
    await new Promise((resolve) => setTimeout(resolve, 50))
    equal(metrics.total('sluice_broker_clients'), 0)
    equal((await upgrade(port, '/mqtt')).status, 101)
  })
})
