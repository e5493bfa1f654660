import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { connect as tcp } from 'node:net'
import { describe, test } from 'node:test'
import { connectAsync, type IClientOptions } from 'mqtt'
import { generate } from 'mqtt-packet'
import type { Publish } from '../../src/core/access.ts'
import type { BrokerLimits } from '../../src/ingest/broker/limits.ts'
import { createMqttBroker } from '../../src/ingest/mqtt-broker.ts'
import { openBroker } from '../support/broker.ts'
import { type Scope, until } from '../support/cleanup.ts'
import { countedMetrics, fakeAccept, fakeAccess, linesLog } from '../support/doors.ts'
import { connectPacket, connectRaw, openRaw, subscribeRaw } from '../support/raw-mqtt.ts'

async function open(scope: Scope, limits: Partial<BrokerLimits> = {}) {
  const opened = await openBroker(scope, limits)
  return { ...opened, topics: (): string[] => opened.sink.taken.map(({ publish }) => publish.topic) }
}

/** A client as devices have them. */
async function device(scope: Scope, port: number, name = 'd-1', options: IClientOptions = {}) {
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, {
    protocolVersion: 4,
    clientId: name,
    username: name,
    password: `${name}-secret`,
    reconnectPeriod: 0,
    ...options,
  })
  scope.after(() => client.endAsync(true))
  const got: { topic: string; payload: string; retain: boolean; qos: number }[] = []
  client.on('message', (topic, payload, { retain, qos }) =>
    got.push({ topic, payload: payload.toString('utf8'), retain, qos }),
  )
  return Object.assign(client, { got })
}

const about =
  (topic: string) =>
  (publish: Publish): boolean =>
    publish.topic === topic

describe('acknowledgements', () => {
  test('come after the message is durable, and in order', async (t) => {
    const { port, sink, topics } = await open(t)
    const client = await connectRaw(t, port)
    sink.hold(about('slow'))
    for (const [index, topic] of ['slow', 'a', 'b'].entries()) client.publish(topic, 1, index + 1)
    client.publish('c', 2, 4)
    await until('all are with accept at once', () => topics().length === 4)
    client.send({ cmd: 'pingreq' })
    await until('a ping is answered meanwhile', () => client.got.some(({ cmd }) => cmd === 'pingresp'))
    deepEqual([client.ids('puback'), client.ids('pubrec')], [[], []])
    sink.release()
    await until('all are acknowledged', () => client.ids('pubrec').length === 1)
    deepEqual([client.ids('puback'), client.ids('pubrec')], [[1, 2, 3], [4]])
  })

  test('held ones do not end the connection: its keep-alive counts what it sends', async (t) => {
    const { port, sink } = await open(t)
    const client = await device(t, port, 'd-1', { keepalive: 1 })
    sink.hold()
    const published = client.publishAsync('a', 'x', { qos: 1 })
    const start = performance.now()
    await until('longer than one and a half keep-alives', () => performance.now() - start > 2_500)
    ok(client.connected)
    sink.release()
    await published
  })

  test('a client that says nothing is ended, and its will published', async (t) => {
    const { port, topics, metrics } = await open(t)
    const will = { topic: 'wills/d-1', payload: Buffer.from('gone'), qos: 1 as const, retain: false }
    const client = await connectRaw(t, port, 'd-1', { keepalive: 1, will })
    await until('the end', client.closed)
    await until('the will', () => topics().includes('wills/d-1'))
    equal(metrics.total('sluice_broker_connections_closed_total', { reason: 'keep-alive' }), 1)
  })

  test('a publisher and a subscriber of the usual kind talk through it, at every QoS', async (t) => {
    const { port } = await open(t)
    const receiver = await device(t, port, 'd-2')
    await receiver.subscribeAsync('to/+/d-2', { qos: 2 })
    const sender = await device(t, port)
    for (const qos of [0, 1, 2] as const) await sender.publishAsync('to/x/d-2', String(qos), { qos })
    await until('all three', () => receiver.got.length === 3)
    deepEqual(
      receiver.got.map(({ payload, qos }) => [payload, qos]),
      [
        ['0', 0],
        ['1', 1],
        ['2', 2],
      ],
    )
  })

  test('nobody sees a message before it is durable', async (t) => {
    const { port, sink } = await open(t)
    const receiver = await connectRaw(t, port, 'd-2')
    await subscribeRaw(receiver, ['#'])
    const sender = await connectRaw(t, port)
    sink.hold(about('held'))
    sender.publish('held', 1, 1)
    sender.publish('free', 0)
    sender.send({ cmd: 'pingreq' })
    await until('both are taken', () => sink.taken.length === 2 && sender.got.length > 1)
    deepEqual(receiver.payloads(), [])
    sink.release()
    await until('both in order', () => receiver.payloads().length === 2)
    deepEqual(
      receiver.got.flatMap((packet) => (packet.cmd === 'publish' ? [packet.topic] : [])),
      ['held', 'free'],
    )
  })

  test('QoS 2: a duplicate is not taken again, PUBREL is always answered', async (t) => {
    const { port, sink } = await open(t)
    const client = await connectRaw(t, port, 'd-1', { clean: false })
    sink.hold()
    client.publish('q', 2, 7)
    await until('the first', () => sink.taken.length === 1)
    client.publish('q', 2, 7, { dup: true })
    client.send({ cmd: 'pingreq' })
    await until('the second has been read', () => client.got.some(({ cmd }) => cmd === 'pingresp'))
    sink.release()
    await until('a PUBREC', () => client.ids('pubrec').length > 0)
    client.publish('q', 2, 7, { dup: true })
    await until('a PUBREC again', () => client.ids('pubrec').length === 2)
    const again = await connectRaw(t, port, 'd-1', { clean: false })
    again.publish('q', 2, 7, { dup: true })
    await until('a PUBREC on the next connection', () => again.ids('pubrec').length === 1)
    equal(sink.taken.length, 1)
    again.send({ cmd: 'pubrel', messageId: 7 }, { cmd: 'pubrel', messageId: 8 })
    await until('PUBCOMP', () => again.ids('pubcomp').length === 2)
    again.publish('q', 2, 7)
    await until('a new message with the id', () => sink.taken.length === 2)
  })

  test('QoS 2: a duplicate on a new connection waits for the first decision', async (t) => {
    const { port, sink } = await open(t)
    const first = await connectRaw(t, port, 'd-1', { clean: false })
    sink.hold()
    first.publish('q', 2, 7)
    await until('the first', () => sink.taken.length === 1)
    first.socket.destroy()
    const second = await connectRaw(t, port, 'd-1', { clean: false })
    second.publish('q', 2, 7, { dup: true })
    second.send({ cmd: 'pingreq' })
    await until('it has been read', () => second.got.some(({ cmd }) => cmd === 'pingresp'))
    deepEqual(second.ids('pubrec'), [])
    sink.release()
    await until('its PUBREC', () => second.ids('pubrec').length === 1)
    equal(sink.taken.length, 1)
  })
})

describe('QoS 2 without end', () => {
  test('a repetition that finds no room when its turn comes ends its own connection, and nothing else', async (t) => {
    const { port, sink } = await open(t, { inFlight: 3 })
    const first = await connectRaw(t, port, 'd-1', { clean: false })
    sink.hold()
    first.publish('q', 2, 1)
    await until('the first is decided', () => sink.taken.length === 1)
    first.socket.destroy()
    const second = await connectRaw(t, port, 'd-1', { clean: false })
    second.publish('q', 2, 1, { dup: true })
    second.send({ cmd: 'pubrel', messageId: 1 })
    for (const id of [2, 3, 4]) second.publish('r', 2, id)
    await until('as many as there may be', () => sink.taken.length === 4)
    sink.reply = ({ topic }) =>
      topic === 'q' ? { kind: 'later', id: 'i', status: 503, afterMs: 10, message: 'away' } : undefined
    sink.release(about('q'))
    await until('the end', second.closed)
    const other = await connectRaw(t, port, 'd-2')
    equal(other.code, 0)
  })
})

describe('when accept says no', () => {
  test('a refused publish ends the connection without its acknowledgement, after those before it', async (t) => {
    const { port, sink, metrics, log } = await open(t)
    sink.reply = ({ topic }) =>
      topic === 'no' ? { kind: 'refused', id: 'i', status: 403, reason: 'policy', message: 'not allowed' } : undefined
    const client = await connectRaw(t, port)
    client.publish('a', 1, 1)
    client.publish('no', 1, 2)
    await until('the end', client.closed)
    deepEqual(client.ids('puback'), [1])
    equal(metrics.total('sluice_broker_connections_closed_total', { reason: 'refused' }), 1)
    ok(log.lines.some((line) => line.startsWith('connection closed') && line.includes('"detail":"policy"')))
  })

  test('$SYS is refused before anybody is asked', async (t) => {
    const { port, sink, metrics } = await open(t)
    const victim = await connectRaw(t, port, 'd-2')
    const client = await connectRaw(t, port)
    client.publish('$SYS/x/new/clients', 1, 1, { payload: 'd-2' })
    await until('the end', client.closed)
    victim.send({ cmd: 'pingreq' })
    await until('the other is well', () => victim.got.some(({ cmd }) => cmd === 'pingresp'))
    equal(sink.taken.length, 0)
    equal(metrics.total('sluice_messages_refused_total', { door: 'mqtt', reason: 'reserved' }), 1)
  })

  test('"later" holds the acknowledgement, keeps the client, and tries again in order', async (t) => {
    const { port, sink } = await open(t)
    let away = true
    sink.reply = () => (away ? { kind: 'later', id: 'i', status: 503, afterMs: 50, message: 'away' } : undefined)
    const client = await connectRaw(t, port)
    for (let id = 1; id <= 20; id += 1) client.publish(`t/${id}`, 1, id)
    await until(
      'the first is tried again',
      () => sink.taken.filter(({ publish }) => publish.topic === 't/1').length > 2,
    )
    client.send({ cmd: 'pingreq' })
    await until('pings are answered', () => client.got.some(({ cmd }) => cmd === 'pingresp'))
    deepEqual([client.ids('puback'), client.closed()], [[], false])
    const before = sink.taken.length
    away = false
    await until('all acknowledged', () => client.ids('puback').length === 20)
    deepEqual(
      client.ids('puback'),
      Array.from({ length: 20 }, (_, index) => index + 1),
    )
    const tried = sink.taken.slice(before).map(({ publish }) => publish.topic)
    deepEqual(
      tried.slice(-20),
      Array.from({ length: 20 }, (_, index) => `t/${index + 1}`),
    )
    client.publish('after', 1, 99)
    await until('the way is free again', () => client.ids('puback').at(-1) === 99)
  })

  test('QoS 0 is held in a bounded number while the queue is away, then dropped and counted', async (t) => {
    const { port, sink, metrics } = await open(t, { heldQos0: 5 })
    let away = true
    sink.reply = () => (away ? { kind: 'later', id: 'i', status: 503, afterMs: 30, message: 'away' } : undefined)
    const client = await connectRaw(t, port)
    client.publish('first', 0)
    await until('it is tried again', () => sink.taken.length > 1)
    for (let index = 0; index < 20; index += 1) client.publish(`t/${index}`, 0)
    await until(
      'some are dropped',
      () => metrics.total('sluice_broker_messages_dropped_total', { reason: 'qos0' }) === 16,
    )
    away = false
    const before = sink.taken.length
    await until('the held ones arrive', () => sink.taken.length >= before + 5)
    deepEqual(
      sink.taken.slice(before, before + 5).map(({ publish }) => publish.topic),
      ['first', 't/0', 't/1', 't/2', 't/3'],
    )
  })

  test('429 lets the client wait that is over its limit, and nobody else', async (t) => {
    const { port, sink } = await open(t)
    let limited = true
    sink.reply = (_publish, speaker) =>
      limited && speaker.principal.name === 'd-1'
        ? { kind: 'later', id: 'i', status: 429, afterMs: 40, message: 'slow down' }
        : undefined
    const loud = await connectRaw(t, port, 'd-1')
    const quiet = await connectRaw(t, port, 'd-2')
    loud.publish('loud', 1, 1)
    await until('it is put off', () => sink.taken.length > 0)
    // Its socket is not read: what it sends stays with the kernel.
    loud.send({ cmd: 'pingreq' })
    for (let id = 1; id <= 50; id += 1) quiet.publish('quiet', 1, id)
    await until('the other goes on', () => quiet.ids('puback').length === 50)
    deepEqual([loud.got.length, loud.closed()], [1, false])
    limited = false
    await until('it may go on', () => loud.ids('puback').length === 1 && loud.got.some(({ cmd }) => cmd === 'pingresp'))
  })

  test('a client with too much in flight is not read, and goes on when there is room', async (t) => {
    const { port, sink } = await open(t, { inFlight: 10 })
    sink.hold()
    const client = await connectRaw(t, port)
    for (let id = 1; id <= 11; id += 1) client.publish('t', 1, id)
    await until('ten are with accept', () => sink.taken.length === 10)
    client.send({ cmd: 'pingreq' })
    for (let id = 12; id <= 500; id += 1) client.publish('t', 1, id)
    sink.release()
    await until('all', () => client.ids('puback').length === 500)
    deepEqual(
      client.ids('puback'),
      Array.from({ length: 500 }, (_, index) => index + 1),
    )
  })

  test('the memory of all publishes together is bounded', async (t) => {
    const { port, sink } = await open(t, { totalInFlightBytes: 4_000 })
    sink.hold(about('big'))
    const first = await connectRaw(t, port, 'd-1')
    first.publish('big', 1, 1, { payload: 'x'.repeat(5_000) })
    await until('it is taken', () => sink.taken.length === 1)
    const second = await connectRaw(t, port, 'd-2')
    second.publish('a', 1, 1)
    await until('one chunk more', () => second.ids('puback').length === 1)
    second.publish('a', 1, 2)
    sink.release()
    await until('room again', () => second.ids('puback').length === 2 && first.ids('puback').length === 1)
  })
})

describe('CONNECT', () => {
  test('one code for no, unknown and wrong credentials, another for policies', async (t) => {
    const { port, access, metrics, log } = await open(t)
    access.denied.add('iot:Connect nope')
    const code = async (extra: object): Promise<number | undefined> => (await connectRaw(t, port, 'd-1', extra)).code
    equal(await code({}), 0)
    equal(await code({ password: Buffer.from('d-1-wrong') }), 4)
    equal(await code({ username: 'nobody' }), 4)
    equal(await code({ username: undefined, password: undefined }), 4)
    equal(await code({ clientId: 'nope' }), 5)
    equal(metrics.total('sluice_authentications_failed_total', { door: 'mqtt' }), 3)
    ok(!log.lines.join().includes('d-1-wrong'), 'no secret in the log')
  })

  test('client ids: length, $, empty with and without a session', async (t) => {
    const { port, access } = await open(t)
    const code = async (extra: object): Promise<number | undefined> => (await connectRaw(t, port, 'd-1', extra)).code
    equal(await code({ clientId: 'x'.repeat(128) }), 0)
    equal(await code({ clientId: 'x'.repeat(129) }), 2)
    equal(await code({ clientId: '$x' }), 2)
    equal(await code({ clientId: 'a\0b' }), 2)
    equal(await code({ clientId: '' }), 0)
    match(access.asked.at(-1) ?? '', /^iot:Connect auto-/)
    // mqtt-packet itself won't write this one.
    const empty = openRaw(t, port)
    const bytes = Buffer.from('101f00044d51545404c0003c00000003642d31000a642d312d736563726574', 'hex')
    bytes[1] = bytes.length - 2
    empty.send(bytes)
    await until('a CONNACK', () => empty.got[0]?.cmd === 'connack' && empty.got[0].returnCode === 2)
  })

  test('its size: a long token and a will fit, and what nobody needs ends before it is read', async (t) => {
    const { port, access } = await open(t)
    const will = { topic: 'w', payload: Buffer.alloc(4_000), qos: 0 as const, retain: false }
    const password = Buffer.alloc(8_192, 'x')
    access.tokens.set('d-1', password.toString())
    equal((await connectRaw(t, port, 'd-1', { will, password })).code, 0)
    equal((await connectRaw(t, port, 'd-1', { will: { ...will, payload: Buffer.alloc(16_384) } })).code, undefined)
  })

  test('topics of wills, and filters, have the limits that are configured', async (t) => {
    const { port } = await open(t, { topicBytes: 8, topicLevels: 10 })
    const will = { topic: 'a/b/c/d/e', payload: Buffer.from('gone'), qos: 0 as const, retain: false }
    equal((await connectRaw(t, port, 'd-1', { will })).code, 5)
    const client = await connectRaw(t, port, 'd-1', { will: { ...will, topic: '///////' } })
    equal(client.code, 0)
    deepEqual(await subscribeRaw(client, ['////////', '/////////', '1/2/3/4/5']), [1, 0x80, 0x80])
  })

  test('client ids that are names of JavaScript harm nobody', async (t) => {
    const { port, topics } = await open(t)
    for (const clientId of ['constructor', '__proto__', 'hasOwnProperty', 'toString']) {
      for (const clean of [true, false, false]) {
        const client = await connectRaw(t, port, 'd-1', { clientId, clean })
        equal(client.code, 0)
        deepEqual(await subscribeRaw(client, [clientId, '__proto__/#']), [1, 1])
        client.publish(clientId, 1, 1)
        await until('acknowledged', () => client.ids('puback').length === 1)
        client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['__proto__/#'] })
        await until('unsubscribed', () => client.ids('unsuback').length === 1)
      }
    }
    equal(topics().length, 12)
  })

  test('policies are told what CONNECT said', async (t) => {
    const { port, sink } = await open(t)
    const will = { topic: 'wills/x', payload: Buffer.from('gone'), qos: 0 as const, retain: false }
    const client = await connectRaw(t, port, 'd-1', { clean: false, will, clientId: 'c-9' })
    client.publish('a', 1, 1)
    await until('taken', () => sink.taken.length === 1)
    deepEqual(sink.taken[0]?.speaker, {
      principal: { name: 'd-1', method: 'token', thing: 'd-1' },
      protocol: 'mqtt',
      clientId: 'c-9',
      sourceIp: '127.0.0.1',
      connectAttributes: ['PersistentConnect', 'LastWill'],
      lastWillTopic: 'wills/x',
    })
  })

  test('packets sent right behind CONNECT are read after it is decided', async (t) => {
    const { port, access, topics } = await open(t)
    const known = fakeAccess()
    const gate = Promise.withResolvers<void>()
    access.authenticate = (presented) => gate.promise.then(() => known.authenticate(presented))
    const client = openRaw(t, port)
    client.send(connectPacket('d-1'))
    client.publish('early', 1, 1)
    client.publish('early', 1, 2)
    gate.resolve()
    await until('acknowledged', () => client.ids('puback').length === 2)
    deepEqual(topics(), ['early', 'early'])
  })

  test('what comes behind a CONNECT that is refused goes nowhere', async (t) => {
    const { port, topics } = await open(t)
    const client = openRaw(t, port)
    client.send(connectPacket('d-1', { password: Buffer.from('wrong') }))
    client.publish('early', 0)
    await until('the end', client.closed)
    deepEqual([client.got.length, topics()], [1, []])
  })

  test('MQTT 5 gets "unacceptable protocol version"', async (t) => {
    const { port } = await open(t)
    equal((await connectRaw(t, port, 'd-1', { protocolVersion: 5 })).code, 1)
  })

  test('strangers: no packet before CONNECT, no giant header, no dawdling, no crowd', async (t) => {
    const { port, metrics } = await open(t, { connectMs: 300, strangers: 3 })
    for (const bytes of [
      Buffer.from([0x30, 0x05, 0, 1, 97, 98, 99]),
      Buffer.from([0xc0, 0]),
      Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]),
      Buffer.from([0x10, 0xff, 0xff, 0xff, 0xff]),
      Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    ]) {
      const client = openRaw(t, port)
      client.send(bytes)
      await until(`the end after ${bytes.toString('hex')}`, client.closed)
    }
    const silent = [openRaw(t, port), openRaw(t, port), openRaw(t, port)]
    await until('they are in', () => silent.every(({ socket }) => !socket.connecting))
    const fourth = await connectRaw(t, port)
    equal(fourth.code, 0)
    await until('the oldest has made room', () => silent[0]?.closed() === true)
    equal(metrics.total('sluice_broker_connections_closed_total', { reason: 'full' }), 1)
    await until('the silent ones are ended', () => silent.every((client) => client.closed()))
    equal((await connectRaw(t, port)).code, 0)
  })

  test('an oversize PUBLISH ends its connection before it is read', async (t) => {
    const { port, sink, metrics } = await open(t)
    const client = await connectRaw(t, port)
    client.publish('a', 1, 1, { payload: Buffer.alloc(128 * 1024) })
    await until("AWS's size goes through to accept", () => sink.taken.length === 1)
    client.send(Buffer.from([0x32, 0xff, 0xff, 0x7f]))
    await until('the end', client.closed)
    equal(metrics.total('sluice_broker_connections_closed_total', { reason: 'size' }), 1)
  })

  test('topics that are not UTF-8, and packets without a message id, end the connection', async (t) => {
    const { port, sink } = await open(t)
    for (const bytes of [
      Buffer.from([0x30, 5, 0, 2, 0xff, 0xfe, 0x41]),
      Buffer.from([0x32, 6, 0, 1, 97, 0, 0, 98]),
      Buffer.from([0x32, 3, 0, 1, 97]),
      Buffer.from([0x62, 0]),
      Buffer.from([0x62, 1, 5]),
      Buffer.from([0x62, 2, 0, 0]),
      Buffer.from([0x40, 0]),
      Buffer.from([0x82, 0]),
      Buffer.from([0xa2, 1, 1]),
      Buffer.from([0xf0, 0]),
      Buffer.from([0x00, 0]),
      Buffer.from([0x60, 2, 0, 1]),
    ]) {
      const client = await connectRaw(t, port)
      client.send(bytes)
      await until('the end', client.closed)
    }
    equal(sink.taken.length, 0)
  })

  test('packets that ask for nothing, and a last will of QoS 3, end the connection', async (t) => {
    const { port } = await open(t)
    for (const bytes of [Buffer.from([0x82, 2, 0, 1]), Buffer.from([0xa2, 2, 0, 1])]) {
      const client = await connectRaw(t, port)
      client.send(bytes)
      await until('the end', client.closed)
      deepEqual(client.got.length, 1, 'a CONNACK and no more')
    }
    const willed = openRaw(t, port)
    const packet = Buffer.from(
      generate(connectPacket('d-1', { will: { topic: 'w', payload: Buffer.from('w'), qos: 2 } })),
    )
    const flags = packet.indexOf('MQTT') + 5
    packet[flags] = (packet[flags] ?? 0) | 0x18
    willed.send(packet)
    await until('the end', willed.closed)
    deepEqual(willed.got, [])
  })
})

describe('subscriptions', () => {
  test('denied ones get 0x80, the others go on', async (t) => {
    const { port, access } = await open(t)
    access.denied.add('iot:Subscribe secret/#')
    const client = await connectRaw(t, port, 'd-2', { clean: false })
    deepEqual(await subscribeRaw(client, ['open', 'secret/#', '$SYS/#', 'a/b/c/d/e/f/g/h/i']), [1, 0x80, 0x80, 0x80])
    // A grant that nothing ever comes of would be worse.
    deepEqual(await subscribeRaw(client, ['$share/group/open']), [0x80])
    const sender = await connectRaw(t, port)
    sender.publish('secret/x', 1, 1)
    sender.publish('open', 1, 2)
    await until('the open one', () => client.payloads().length === 1)
    // What was denied is not kept for a session that comes back, either.
    client.socket.destroy()
    sender.publish('secret/y', 1, 3, { payload: 'secret' })
    sender.publish('open', 1, 4, { payload: 'later' })
    await until('acknowledged', () => sender.ids('puback').length === 4)
    const again = await connectRaw(t, port, 'd-2', { clean: false })
    await until('the kept one', () => again.payloads().includes('later'))
    ok(!again.payloads().includes('secret'))
  })

  test('every delivery asks iot:Receive, live and retained', async (t) => {
    const { port, access, log } = await open(t)
    access.denied.add('d-2 iot:Receive a/closed')
    const sender = await device(t, port)
    await sender.publishAsync('a/closed', 'retained', { qos: 1, retain: true })
    await sender.publishAsync('a/open', 'retained', { qos: 1, retain: true })
    const receiver = await device(t, port, 'd-2')
    await receiver.subscribeAsync('a/+', { qos: 1 })
    await until('the retained one', () => receiver.got.length === 1)
    await sender.publishAsync('a/closed', 'live', { qos: 1 })
    await sender.publishAsync('a/open', 'live', { qos: 1 })
    await until('the live one', () => receiver.got.length === 2)
    deepEqual(
      receiver.got.map(({ topic, payload, retain }) => [topic, payload, retain]),
      [
        ['a/open', 'retained', true],
        ['a/open', 'live', false],
      ],
    )
    access.denied.add('d-2 iot:Receive a/open')
    await sender.publishAsync('a/open', 'no more', { qos: 1 })
    access.denied.clear()
    await sender.publishAsync('a/open', 'again', { qos: 1 })
    await until('again', () => receiver.got.at(-1)?.payload === 'again')
    equal(receiver.got.length, 3)
    const refused = log.lines.filter((line) => line.startsWith('delivery refused'))
    match(refused[0] ?? '', /"clientId":"d-2","principal":"d-2","topic":"a\/closed","because":"/)
    equal(refused.length, 3)
  })

  test('`#` takes its parent too, and retained messages come for wildcards, as MQTT has it and AWS has not', async (t) => {
    const { port } = await open(t)
    const sender = await device(t, port)
    await sender.publishAsync('sensor', 'parent', { qos: 1, retain: true })
    await sender.publishAsync('sensor/1', 'child', { qos: 1, retain: true })
    const receiver = await device(t, port, 'd-2')
    await receiver.subscribeAsync('sensor/#', { qos: 1 })
    await until('both', () => receiver.got.length === 2)
    deepEqual(
      new Set(receiver.got.map(({ topic, retain }) => `${topic} ${retain}`)),
      new Set(['sensor true', 'sensor/1 true']),
    )
  })

  test('are bounded: filters of one SUBSCRIBE, subscriptions of one client', async (t) => {
    const { port } = await open(t, { subscriptions: 10 })
    const client = await connectRaw(t, port)
    const filters = (from: number, count: number): string[] =>
      Array.from({ length: count }, (_, index) => `t/${from + index}`)
    deepEqual(await subscribeRaw(client, filters(0, 8)), Array(8).fill(1))
    deepEqual(await subscribeRaw(client, filters(6, 5)), [1, 1, 1, 1, 0x80])
    client.send({ cmd: 'unsubscribe', messageId: 1, unsubscriptions: ['t/0'] })
    await until('room', () => client.ids('unsuback').length === 1)
    deepEqual(await subscribeRaw(client, ['t/99', 't/98']), [1, 0x80])
    deepEqual(await subscribeRaw(client, filters(0, 9)), [])
    ok(client.closed())
  })

  test('a malformed filter ends the connection', async (t) => {
    const { port } = await open(t)
    for (const filter of ['a/#/b', 'a+', 'b#', '']) {
      const client = await connectRaw(t, port)
      client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'x', qos: 0 }] })
      const bytes = Buffer.from([0x82, filter.length + 5, 0, 1, 0, filter.length, ...Buffer.from(filter), 0])
      client.send(bytes)
      await until(`the end after "${filter}"`, client.closed)
    }
  })

  test('the granted QoS is the most that comes', async (t) => {
    const { port } = await open(t)
    const sender = await connectRaw(t, port)
    sender.publish('a/b', 1, 1, { payload: 'kept', retain: true })
    await until('kept', () => sender.ids('puback').length === 1)
    for (const [name, qos] of [
      ['d-2', 0],
      ['d-3', 1],
    ] as const) {
      const receiver = await connectRaw(t, port, name)
      await subscribeRaw(receiver, ['a/#'], qos)
      await until('the retained one', () => receiver.payloads().length === 1)
      sender.publish('a/b', 2, 5)
      await until('the live one', () => receiver.payloads().length === 2)
      sender.send({ cmd: 'pubrel', messageId: 5 })
      deepEqual(
        receiver.got.flatMap((packet) => (packet.cmd === 'publish' ? [packet.qos] : [])),
        [qos, qos],
      )
    }
  })
})

describe('a subscriber that stops reading', () => {
  test('is cut off, and stalls nobody', async (t) => {
    const { port, metrics } = await open(t, { outgoingBytes: 1024 ** 2 })
    const stalled = await connectRaw(t, port, 'd-2', { clean: false })
    await subscribeRaw(stalled, ['big'])
    stalled.socket.pause()
    const sender = await connectRaw(t, port, 'd-1')
    const other = await connectRaw(t, port, 'd-3')
    await subscribeRaw(other, ['small'])
    const payload = Buffer.alloc(100_000)
    for (let id = 1; id <= 200; id += 1) sender.publish('big', 1, id, { payload })
    for (let id = 1; id <= 50; id += 1) other.publish('small', 1, id)
    await until(
      'the other is acknowledged and delivered',
      () => other.ids('puback').length === 50 && other.payloads().length === 50,
    )
    await until('so is the sender', () => sender.ids('puback').length === 200)
    await until(
      'it is cut off',
      () => metrics.total('sluice_broker_connections_closed_total', { reason: 'stalled' }) === 1,
    )
    const again = await connectRaw(t, port, 'd-2', { clean: false })
    await until('its session has the newest, within its bounds', () => again.payloads().length > 0)
    ok(again.payloads().length <= 11, `${again.payloads().length} messages of 100 kB in 1 MiB`)
  })

  test('is cut off after a while, however little waits for it', async (t) => {
    const { port, metrics } = await open(t, { outgoingBytes: 1024 ** 3, stallMs: 200 })
    const stalled = await connectRaw(t, port, 'd-2')
    await subscribeRaw(stalled, ['big'])
    stalled.socket.pause()
    const sender = await connectRaw(t, port)
    const payload = Buffer.alloc(100_000)
    for (let id = 1; id <= 200; id += 1) sender.publish('big', 1, id, { payload })
    await until('acknowledged', () => sender.ids('puback').length === 200)
    await until(
      'it is cut off',
      () => metrics.total('sluice_broker_connections_closed_total', { reason: 'stalled' }) === 1,
    )
  })

  test('loses QoS 0 first', async (t) => {
    const { port, metrics } = await open(t, { outgoingBytes: 1024 ** 2 })
    const stalled = await connectRaw(t, port, 'd-2')
    await subscribeRaw(stalled, ['big'], 0)
    stalled.socket.pause()
    const sender = await connectRaw(t, port)
    const payload = Buffer.alloc(100_000)
    for (let id = 1; id <= 200; id += 1) sender.publish('big', 0, id, { payload })
    await until(
      'some are dropped',
      () => metrics.total('sluice_broker_messages_dropped_total', { reason: 'slow-subscriber' }) > 50,
    )
    stalled.socket.resume()
    stalled.send({ cmd: 'pingreq' })
    await until('it lives', () => stalled.got.some(({ cmd }) => cmd === 'pingresp'))
  })

  test('and one that pings without reading is cut off too', async (t) => {
    const { port, metrics } = await open(t, { outgoingBytes: 64 * 1024 })
    const client = await connectRaw(t, port)
    client.socket.pause()
    const pings = Buffer.alloc(1024 ** 2)
    for (let index = 0; index < pings.length; index += 2) pings[index] = 0xc0
    const cut = (): boolean => metrics.total('sluice_broker_connections_closed_total', { reason: 'stalled' }) === 1
    await until('it is cut off', () => {
      if (!client.socket.destroyed) client.socket.write(pings)
      return cut()
    })
  })
})

describe('last wills', () => {
  const will = { topic: 'wills/d-1', payload: Buffer.from('gone'), qos: 1 as const, retain: false }

  test('go through accept as a publish of that principal, then to subscribers', async (t) => {
    const { port, sink, access } = await open(t)
    const watcher = await connectRaw(t, port, 'd-2')
    await subscribeRaw(watcher, ['wills/+'])
    const client = await connectRaw(t, port, 'd-1', { will: { ...will, retain: true } })
    deepEqual(
      access.asked.filter((asked) => asked.endsWith('wills/d-1')),
      ['iot:Publish wills/d-1', 'iot:RetainPublish wills/d-1'],
    )
    client.socket.destroy()
    await until('it is delivered', () => watcher.payloads().length === 1)
    const [taken] = sink.taken
    deepEqual(taken?.publish, { topic: 'wills/d-1', payload: Buffer.from('gone'), qos: 1, retain: true })
    deepEqual([taken?.speaker.principal.name, taken?.speaker.clientId], ['d-1', 'd-1'])
    const late = await connectRaw(t, port, 'd-3')
    await subscribeRaw(late, ['wills/d-1'])
    await until('it is retained', () => late.payloads().length === 1)
  })

  test('are void after DISCONNECT', async (t) => {
    const { port, sink } = await open(t)
    const client = await connectRaw(t, port, 'd-1', { will })
    client.send({ cmd: 'disconnect' })
    await until('the end', client.closed)
    const next = await connectRaw(t, port, 'd-1')
    next.publish('after', 1, 1)
    await until('the next message', () => next.ids('puback').length === 1)
    deepEqual(
      sink.taken.map(({ publish }) => publish.topic),
      ['after'],
    )
  })

  test('are authorized at CONNECT', async (t) => {
    const { port, access } = await open(t)
    access.denied.add('iot:Publish wills/d-1')
    equal((await connectRaw(t, port, 'd-1', { will })).code, 5)
    access.denied.clear()
    access.denied.add('iot:RetainPublish wills/d-1')
    equal((await connectRaw(t, port, 'd-1', { will })).code, 0)
    equal((await connectRaw(t, port, 'd-1', { will: { ...will, retain: true } })).code, 5)
    equal((await connectRaw(t, port, 'd-1', { will: { ...will, topic: 'a/#' } })).code, 5)
  })

  test('wait for the queue; one that is refused reaches nobody', async (t) => {
    const { port, sink } = await open(t)
    const watcher = await connectRaw(t, port, 'd-2')
    await subscribeRaw(watcher, ['wills/+'])
    let away = true
    sink.reply = ({ topic }) => {
      if (topic === 'wills/no') return { kind: 'refused', id: 'i', status: 403, reason: 'policy', message: 'no' }
      return away ? { kind: 'later', id: 'i', status: 503, afterMs: 20, message: 'away' } : undefined
    }
    const refused = await connectRaw(t, port, 'd-3', { will: { ...will, topic: 'wills/no' } })
    refused.socket.destroy()
    const client = await connectRaw(t, port, 'd-1', { will })
    client.socket.destroy()
    await until('it is tried again', () => sink.taken.filter(({ publish }) => publish.topic === 'wills/d-1').length > 2)
    deepEqual(watcher.payloads(), [])
    away = false
    await until('it is delivered', () => watcher.payloads().length === 1)
  })
})

describe('sessions', () => {
  test('keep what comes meanwhile, and send again what was not acknowledged', async (t) => {
    const { port, metrics } = await open(t)
    const first = await connectRaw(t, port, 'd-2', { clean: false })
    await subscribeRaw(first, ['a'])
    const sender = await device(t, port)
    await sender.publishAsync('a', 'one', { qos: 1 })
    await until('one, not acknowledged', () => first.payloads().length === 1)
    first.socket.destroy()
    await until('only the sender is there', () => metrics.total('sluice_broker_clients') === 1)
    await sender.publishAsync('a', 'two', { qos: 1 })
    const second = await connectRaw(t, port, 'd-2', { clean: false })
    await until('both', () => second.payloads().length === 2)
    const [connack] = second.got
    ok(connack?.cmd === 'connack' && connack.sessionPresent)
    const publishes = second.got.flatMap((packet) => (packet.cmd === 'publish' ? [packet] : []))
    deepEqual(
      publishes.map(({ payload, dup }) => [String(payload), dup]),
      [
        ['one', true],
        ['two', false],
      ],
    )
    for (const { messageId } of publishes) second.send({ cmd: 'puback', messageId: messageId ?? 0 })
    second.send({ cmd: 'pingreq' })
    await until('read', () => second.got.some(({ cmd }) => cmd === 'pingresp'))
    second.socket.destroy()
    const third = await connectRaw(t, port, 'd-2', { clean: false })
    await sender.publishAsync('a', 'three', { qos: 1 })
    await until('three', () => third.payloads().length > 0)
    deepEqual(third.payloads(), ['three'])
  })

  test('belong to their principal: another one with the client id takes its place and starts clean', async (t) => {
    const { port, log } = await open(t)
    const sender = await device(t, port, 'd-3')
    const first = await connectRaw(t, port, 'd-1', { clientId: 'shared', clean: false })
    await subscribeRaw(first, ['private'])
    const same = await connectRaw(t, port, 'd-1', { clientId: 'shared', clean: false })
    await until('the same principal takes over', first.closed)
    ok(same.got[0]?.cmd === 'connack' && same.got[0].sessionPresent)
    await sender.publishAsync('private', 'mine', { qos: 1 })
    await until('with its subscriptions', () => same.payloads().length === 1)
    const other = await connectRaw(t, port, 'd-2', { clientId: 'shared', clean: false })
    await until('so does the other, if policies let it', same.closed)
    ok(other.got[0]?.cmd === 'connack' && !other.got[0].sessionPresent)
    await sender.publishAsync('private', 'not yours', { qos: 1 })
    await subscribeRaw(other, ['public'])
    await sender.publishAsync('public', 'yours', { qos: 1 })
    await until('only its own', () => other.payloads().length > 0)
    deepEqual(other.payloads(), ['yours'])
    ok(!log.lines.some((line) => line.includes('failed')), log.lines.join('\n'))
  })

  test('connections that take over each other at once leave one', async (t) => {
    const { port, broker } = await open(t, { connectBurst: 1_000 })
    for (let round = 0; round < 5; round += 1) {
      const all = await Promise.all(
        Array.from({ length: 6 }, (_, index) =>
          connectRaw(t, port, index % 2 === 0 ? 'd-1' : 'd-2', { clientId: 'shared', clean: index % 3 === 0 }),
        ),
      )
      await until('one is left', () => all.filter((client) => !client.closed()).length === 1)
    }
    const last = await connectRaw(t, port, 'd-1', { clientId: 'shared' })
    last.publish('a', 1, 1)
    await until('it works', () => last.ids('puback').length === 1)
    await broker.close(1_000)
    await until('and ends', last.closed)
  })

  test('are bounded, per principal and by messages; the oldest go', async (t) => {
    const { port, metrics } = await open(t, { sessionsPerPrincipal: 2, sessionMessages: 3 })
    for (const clientId of ['s-1', 's-2', 's-3']) {
      const client = await connectRaw(t, port, 'd-1', { clientId, clean: false })
      await subscribeRaw(client, ['a'])
      client.send({ cmd: 'disconnect' })
      await until('the end', client.closed)
    }
    const sender = await device(t, port, 'd-3')
    for (let index = 1; index <= 5; index += 1) await sender.publishAsync('a', String(index), { qos: 1 })
    const forgotten = await connectRaw(t, port, 'd-1', { clientId: 's-1', clean: false })
    ok(forgotten.got[0]?.cmd === 'connack' && !forgotten.got[0].sessionPresent)
    const kept = await connectRaw(t, port, 'd-1', { clientId: 's-3', clean: false })
    await until('the newest three', () => kept.payloads().length === 3)
    deepEqual(kept.payloads(), ['3', '4', '5'])
    ok(metrics.total('sluice_broker_messages_dropped_total', { reason: 'session-full' }) >= 2)
  })
})

describe('while it runs', () => {
  test('recheck ends those who lost their token or their permission, and keeps the others', async (t) => {
    const { port, access, broker } = await open(t)
    const [first, second, third] = [
      await connectRaw(t, port, 'd-1'),
      await connectRaw(t, port, 'd-2'),
      await connectRaw(t, port, 'd-3'),
    ]
    await broker.recheck()
    access.tokens.set('d-1', 'd-1-secret-new')
    access.denied.add('iot:Connect d-2')
    await broker.recheck()
    await until('both are ended', () => first.closed() && second.closed())
    third.publish('a', 1, 1)
    await until('the third goes on', () => third.ids('puback').length === 1)
    access.authenticate = () => Promise.reject(new Error('identity is away'))
    await broker.recheck()
    third.publish('a', 1, 2)
    await until('nobody is ended because identity is away', () => third.ids('puback').length === 2)
  })

  test('a stop acknowledges what is in flight and publishes wills', async (t) => {
    const { port, sink, broker } = await open(t)
    const will = { topic: 'wills/d-1', payload: Buffer.from('gone'), qos: 1 as const, retain: false }
    const client = await connectRaw(t, port, 'd-1', { will })
    sink.hold(about('a'))
    client.publish('a', 1, 1)
    await until('in flight', () => sink.taken.length === 1)
    const closed = broker.close()
    sink.release()
    await closed
    await until('the end', client.closed)
    deepEqual(client.ids('puback'), [1])
    deepEqual(
      sink.taken.map(({ publish }) => publish.topic),
      ['a', 'wills/d-1'],
    )
  })

  test('a stop has an end', async (t) => {
    const { port, sink, broker } = await open(t)
    const client = await connectRaw(t, port)
    sink.hold()
    client.publish('a', 1, 1)
    await until('in flight', () => sink.taken.length === 1)
    await broker.close(50)
    await until('the end', client.closed)
    deepEqual(client.ids('puback'), [])
  })

  test('a port in use says who has it', async (t) => {
    const { port } = await open(t)
    const options = {
      access: () => fakeAccess(),
      accept: fakeAccept().accept,
      log: linesLog(),
      metrics: countedMetrics(),
    }
    const second = await createMqttBroker(options)
    t.after(() => second.close(0))
    const error: unknown = await second.listen({ host: '127.0.0.1', port }).catch((thrown: unknown) => thrown)
    match(
      String(error),
      /listen\.mqtt: 127\.0\.0\.1:\d+ is taken: port \d+ is taken by .*, and an MQTT broker answers there/,
    )
  })

  test('says at start that sessions are in memory, and counts its clients', async (t) => {
    const { port, log, metrics } = await open(t)
    ok(log.lines.some((line) => line.includes('in memory')))
    const client = await connectRaw(t, port)
    equal(metrics.total('sluice_broker_clients'), 1)
    client.socket.destroy()
    await until('none', () => metrics.total('sluice_broker_clients') === 0)
  })

  test('a connection reset in the middle of everything harms nobody', async (t) => {
    const { port } = await open(t)
    for (let index = 0; index < 20; index += 1) {
      const socket = tcp(port, '127.0.0.1')
      socket.on('error', () => {})
      socket.on('connect', () => socket.resetAndDestroy())
    }
    equal((await connectRaw(t, port)).code, 0)
  })
})
