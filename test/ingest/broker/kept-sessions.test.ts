import { deepEqual, equal } from 'node:assert/strict'
import { describe, test } from 'node:test'
import { acknowledge, drop, kept, openBroker, publish, publishes, settled } from '../../support/broker.ts'
import { until } from '../../support/cleanup.ts'
import { connectRaw, subscribeRaw } from '../../support/raw-mqtt.ts'

/** What becomes of messages around the end and the return of a session's connection. */

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => String(from + index))

describe('a session that is kept', () => {
  test('sends what was sent first, in order, and what came meanwhile and comes now behind it, once', async (t) => {
    const { port, broker } = await openBroker(t, { sessionBytes: 8 * 1024 ** 2 })
    const first = await kept(t, port)
    await subscribeRaw(first, ['a'])
    publish(broker, 'a', 1, ...numbers(1, 5))
    await until('these', () => first.payloads().length === 5)
    first.send({ cmd: 'puback', messageId: first.ids('publish')[2] ?? 0 })
    await drop(first)
    // More than sockets hold: it takes many turns until they are sent.
    const padding = ' '.repeat(40_000)
    publish(broker, 'a', 1, ...numbers(6, 150).map((number) => number + padding))
    const second = await kept(t, port)
    for (const number of numbers(151, 170)) {
      publish(broker, 'a', 1, number)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await until('all', () => second.payloads().includes('170'))
    deepEqual(
      second.payloads().map((payload) => payload.trim()),
      ['1', '2', '4', '5', ...numbers(6, 170)],
    )
    deepEqual(
      publishes(second).flatMap(({ dup }, index) => (dup ? [index] : [])),
      [0, 1, 2, 3],
    )
  })

  test('has what is published while its connection is being cut off', async (t) => {
    const { port, broker, metrics } = await openBroker(t, { outgoingBytes: 200_000 })
    const stalled = await kept(t, port)
    await subscribeRaw(stalled, ['a'])
    stalled.socket.pause()
    const payloads = numbers(1, 20).map((number) => number + ' '.repeat(40_000))
    // In one turn: the connection has ended, and nobody has been told yet.
    publish(broker, 'a', 1, ...payloads)
    equal(metrics.total('sluice_broker_connections_closed_total', { reason: 'stalled' }), 1)
    const again = await kept(t, port)
    await until('all', () => again.payloads().length === 20)
    deepEqual(again.payloads(), payloads)
  })

  test('is taken over with what is in flight', async (t) => {
    const { port, broker, sink } = await openBroker(t)
    const first = await kept(t, port)
    await subscribeRaw(first, ['a'], 2)
    publish(broker, 'a', 2, 'one')
    publish(broker, 'a', 1, 'two')
    sink.hold()
    first.publish('b', 2, 1)
    await until('all are on their way', () => first.payloads().length === 2 && sink.taken.length === 1)
    const second = await kept(t, port)
    publish(broker, 'a', 1, 'three')
    await settled(second)
    deepEqual(
      publishes(second).map(({ payload, dup }) => [String(payload), dup]),
      [
        ['one', true],
        ['two', true],
        ['three', false],
      ],
    )
    second.publish('b', 2, 1, { dup: true })
    sink.release()
    await until('its PUBREC', () => second.ids('pubrec').length === 1)
    deepEqual([first.closed(), sink.taken.length], [true, 1])
  })

  test('gets no more of what it unsubscribes, and all that came before', async (t) => {
    const { port, broker } = await openBroker(t, { unacknowledged: 1 })
    const first = await kept(t, port)
    await subscribeRaw(first, ['a', 'b'])
    publish(broker, 'a', 1, 'one', 'two')
    first.send({ cmd: 'unsubscribe', messageId: 1, unsubscriptions: ['a', 'unknown'] })
    await drop(first)
    publish(broker, 'a', 1, 'three')
    publish(broker, 'b', 1, 'four')
    const second = await kept(t, port)
    await until('one', () => second.payloads().length === 1)
    for (const count of [2, 3]) {
      second.send({ cmd: 'puback', messageId: second.ids('publish').at(-1) ?? 0 })
      await until('the next', () => second.payloads().length === count)
    }
    deepEqual(second.payloads(), ['one', 'two', 'four'])
  })

  test('has each at the QoS that was granted when it was published', async (t) => {
    const { port, broker } = await openBroker(t)
    const first = await kept(t, port)
    await subscribeRaw(first, ['a'], 1)
    await drop(first)
    publish(broker, 'a', 2, 'one')
    publish(broker, 'a', 0, 'not kept')
    const second = await kept(t, port)
    await subscribeRaw(second, ['a'], 2)
    publish(broker, 'a', 2, 'two')
    await drop(second)
    const third = await kept(t, port)
    await subscribeRaw(third, ['a'], 0)
    publish(broker, 'a', 2, 'three')
    await settled(third)
    deepEqual(
      publishes(third).map(({ payload, qos }) => [String(payload), qos]),
      [
        ['one', 1],
        ['two', 2],
        ['three', 0],
      ],
    )
    await drop(third)
    publish(broker, 'a', 2, 'not kept either')
    const fourth = await kept(t, port)
    await settled(fourth)
    deepEqual(fourth.payloads(), ['one', 'two'])
  })

  test('says at its bound what it lost: what waits at once, what was sent when it is known not to have come', async (t) => {
    const { port, broker, dropped } = await openBroker(t, { sessionMessages: 3 })
    const first = await kept(t, port)
    await subscribeRaw(first, ['a'], 2)
    publish(broker, 'a', 1, '1')
    publish(broker, 'a', 2, '2', '3', '4', '5', '6')
    await until('all are sent', () => first.payloads().length === 6)
    const ids = first.ids('publish').map((id) => id ?? 0)
    first.send({ cmd: 'pubrec', messageId: ids[2] ?? 0 })
    await settled(first)
    equal(dropped('session-full'), 0, 'they may have come')
    await drop(first)
    await until('they are lost', () => dropped('session-full') === 2)
    publish(broker, 'a', 1, '7')
    equal(dropped('session-full'), 3)
    const second = await kept(t, port)
    await settled(second)
    deepEqual(second.payloads(), ['5', '6', '7'])
    // The client may hold the ids of QoS 2: it learns that they are free.
    deepEqual(new Set(second.ids('pubrel')), new Set([ids[1], ids[2], ids[3]]))
  })
})

describe('what iot:Receive denies', () => {
  test('is forgotten: while it is connected, when it comes back, and when it would be sent again', async (t) => {
    const { port, broker, access } = await openBroker(t)
    const deny = (): void => void access.denied.add('d-2 iot:Receive a')
    const first = await kept(t, port)
    await subscribeRaw(first, ['a', 'b'], 2)
    for (const qos of [1, 2] as const) publish(broker, 'a', qos, `sent ${qos}`)
    await until('both', () => first.payloads().length === 2)
    deny()
    for (const qos of [1, 2] as const) publish(broker, 'a', qos, `live ${qos}`)
    await drop(first)
    for (const qos of [1, 2] as const) publish(broker, 'a', qos, `offline ${qos}`)
    publish(broker, 'b', 1, 'other')
    const second = await kept(t, port)
    await settled(second)
    deepEqual(second.payloads(), ['other'])
    await drop(second)
    access.denied.clear()
    const third = await kept(t, port)
    publish(broker, 'a', 1, 'allowed')
    await settled(third)
    deepEqual(third.payloads(), ['other', 'allowed'])
  })

  test('leaves no message id behind that the client might still hold', async (t) => {
    const { port, broker, access } = await openBroker(t)
    const first = await kept(t, port)
    await subscribeRaw(first, ['a'], 2)
    publish(broker, 'a', 2, 'sent')
    await until('it', () => first.payloads().length === 1)
    const id = first.ids('publish')[0] ?? 0
    await drop(first)
    access.denied.add('d-2 iot:Receive a')
    const second = await kept(t, port)
    await settled(second)
    deepEqual([second.payloads(), second.ids('pubrel')], [[], [id]])
  })
})

describe('retained messages at SUBSCRIBE', () => {
  test('are sent again until they are acknowledged, as what they are', async (t) => {
    const { port } = await openBroker(t)
    const sender = await connectRaw(t, port)
    sender.publish('r', 1, 1, { retain: true, payload: 'state' })
    await until('kept', () => sender.ids('puback').length === 1)
    const first = await kept(t, port)
    await subscribeRaw(first, ['r'])
    await until('it', () => first.payloads().length === 1)
    await drop(first)
    const second = await kept(t, port)
    await settled(second)
    deepEqual(
      publishes(second).map(({ payload, dup, retain }) => [String(payload), dup, retain]),
      [['state', true, true]],
    )
  })

  test('go as fast as the client reads, and on with its next connection', async (t) => {
    const { port, metrics } = await openBroker(t, { outgoingBytes: 300_000, retainedBytesPerPrincipal: 1024 ** 3 })
    const sender = await connectRaw(t, port)
    const payload = ' '.repeat(100_000)
    for (const number of numbers(1, 100)) sender.publish(`r/${number}`, 1, Number(number), { retain: true, payload })
    await until('kept', () => sender.ids('puback').length === 100)
    const clean = await kept(t, port, { clean: true })
    await subscribeRaw(clean, ['r/+'], 0)
    await until('all', () => clean.payloads().length === 100)
    const first = await kept(t, port)
    await subscribeRaw(first, ['r/+'])
    first.socket.destroy()
    const second = await kept(t, port)
    await until('all, as they are acknowledged', () => {
      acknowledge(second)
      return new Set(publishes(second).map(({ topic }) => topic)).size === 100
    })
    equal(metrics.total('sluice_broker_connections_closed_total', { reason: 'stalled' }), 0)
  })

  test('leave what has been published in the session', async (t) => {
    const { port, broker, dropped } = await openBroker(t, { sessionMessages: 10 })
    const sender = await connectRaw(t, port)
    for (const number of numbers(1, 50)) sender.publish(`r/${number}`, 1, Number(number), { retain: true })
    await until('kept', () => sender.ids('puback').length === 50)
    const client = await kept(t, port)
    await subscribeRaw(client, ['a'])
    publish(broker, 'a', 1, 'one', 'two')
    await subscribeRaw(client, ['r/+'])
    await settled(client)
    deepEqual([client.payloads().length, dropped('session-full')], [5, 0])
    await until('the others, as they are acknowledged', () => {
      acknowledge(client)
      return client.payloads().length === 52
    })
    equal(dropped('session-full'), 0)
  })
})
