import { deepEqual, equal, ok } from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { IPublishPacket } from 'mqtt-packet'
import { drop, kept, openBroker, publish, publishes, settled, wasPresent } from '../../support/broker.ts'
import { until } from '../../support/cleanup.ts'
import { subscribeRaw } from '../../support/raw-mqtt.ts'

/** What a session that is kept gets, row by row of MQTT 3.1.1 §4.3 and §4.4. At random moments: deliveries-model.test.ts. */

describe('overlapping filters', () => {
  for (const qos of [1, 2] as const) {
    test(`of QoS ${qos}: what was not acknowledged is sent again, and what came meanwhile`, async (t) => {
      const { port, broker } = await openBroker(t)
      const first = await kept(t, port)
      await subscribeRaw(first, ['f/#', 'f/+', 'f/a'], qos)
      publish(broker, 'f/a', qos, 'one', 'two')
      await drop(first)
      deepEqual(first.payloads(), ['one', 'two'])
      publish(broker, 'f/a', qos, 'three')
      const second = await kept(t, port)
      await settled(second)
      deepEqual(
        publishes(second).map(({ payload, dup, qos: at }) => [String(payload), dup, at]),
        [
          ['one', true, qos],
          ['two', true, qos],
          ['three', false, qos],
        ],
      )
    })
  }

  test('of QoS 0 and 1 and 2 deliver at the highest, once, live and kept and retained', async (t) => {
    const { port, broker } = await openBroker(t)
    const client = await kept(t, port)
    client.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [
        { topic: 'f/#', qos: 0 },
        { topic: 'f/+', qos: 1 },
        { topic: 'g/+', qos: 2 },
        { topic: 'g/#', qos: 0 },
      ],
    })
    await settled(client)
    for (const topic of ['f/a', 'g/a']) publish(broker, topic, 2, topic)
    client.send({ cmd: 'subscribe', messageId: 2, subscriptions: [{ topic: 'f/a', qos: 0 }] })
    await settled(client)
    publish(broker, 'f/a', 2, 'later')
    await drop(client)
    const at = publishes(client).map(({ topic, qos }) => [topic, qos])
    deepEqual(at, [
      ['f/a', 1],
      ['g/a', 2],
      ['f/a', 1],
    ])
    broker.distribute({ topic: 'f/a', payload: Buffer.from('offline'), qos: 1, retain: true })
    const again = await kept(t, port)
    await settled(again)
    deepEqual(again.payloads(), ['f/a', 'g/a', 'later', 'offline'])
  })

  test('each filter of a SUBSCRIBE gets its return code, the same one twice too', async (t) => {
    const { port } = await openBroker(t)
    const client = await kept(t, port)
    deepEqual(await subscribeRaw(client, ['a', 'a', 'b', 'a'], 2), [2, 2, 2, 2])
  })
})

describe('session present', () => {
  test('is 1 for every session that was kept, with or without subscriptions', async (t) => {
    const { port } = await openBroker(t)
    const first = await kept(t, port)
    ok(!wasPresent(first))
    await drop(first)
    const second = await kept(t, port)
    ok(wasPresent(second))
    await subscribeRaw(second, ['a'])
    second.send({ cmd: 'unsubscribe', messageId: 1, unsubscriptions: ['a'] })
    await drop(second)
    const third = await kept(t, port)
    ok(wasPresent(third))
    await drop(third)
    ok(!wasPresent(await kept(t, port, { clean: true })))
    ok(!wasPresent(await kept(t, port)), 'a clean session has ended it')
  })

  test('a client that counts from the start, whatever it was told, loses nothing', async (t) => {
    const { port, sink } = await openBroker(t)
    const first = await kept(t, port)
    first.publish('q', 2, 1, { payload: 'old' })
    await until('PUBREC', () => first.ids('pubrec').length === 1)
    await drop(first)
    const second = await kept(t, port)
    second.publish('q', 2, 1, { payload: 'new' })
    await until('PUBREC', () => second.ids('pubrec').length === 1)
    second.publish('q', 2, 1, { payload: 'new' })
    second.publish('q', 2, 1, { payload: 'old', dup: true })
    await until('PUBREC for each', () => second.ids('pubrec').length === 3)
    deepEqual(
      sink.taken.map(({ publish: { payload } }) => String(payload)),
      ['old', 'new'],
    )
  })

  test('a clean session discards messages, ids and subscriptions', async (t) => {
    const { port, broker, sink, dropped } = await openBroker(t)
    const first = await kept(t, port)
    await subscribeRaw(first, ['a'], 2)
    publish(broker, 'a', 2, 'one', 'two')
    await until('both', () => first.payloads().length === 2)
    first.send({ cmd: 'pubrec', messageId: first.ids('publish')[0] ?? 0 })
    first.publish('q', 2, 1)
    await until('PUBREC', () => first.ids('pubrec').length === 1)
    await drop(first)
    const clean = await kept(t, port, { clean: true })
    publish(broker, 'a', 2, 'three')
    clean.publish('q', 2, 1, { dup: true })
    await until('it is new', () => sink.taken.length === 2)
    await drop(clean)
    const next = await kept(t, port)
    await settled(next)
    deepEqual([next.got.map(({ cmd }) => cmd), dropped('session-ended')], [['connack', 'pingresp'], 1])
  })
})

describe('QoS 2 to a client', () => {
  test('goes on where the connection broke: PUBLISH, PUBREL, nothing', async (t) => {
    const { port, broker } = await openBroker(t)
    const one = await kept(t, port)
    await subscribeRaw(one, ['a'], 2)
    publish(broker, 'a', 2, 'lost PUBREC', 'lost PUBREL', 'done')
    await until('all', () => one.payloads().length === 3)
    const [first = 0, second = 0, third = 0] = one.ids('publish')
    one.send({ cmd: 'pubrec', messageId: third }, { cmd: 'pubrec', messageId: second })
    await until('PUBREL', () => one.ids('pubrel').length === 2)
    one.send({ cmd: 'pubcomp', messageId: third })
    await drop(one)
    const two = await kept(t, port)
    await settled(two)
    deepEqual(
      publishes(two).map(({ payload, dup, messageId }) => [String(payload), dup, messageId]),
      [['lost PUBREC', true, first]],
    )
    deepEqual(two.ids('pubrel'), [second])
    two.send({ cmd: 'pubrec', messageId: first })
    await drop(two)
    const three = await kept(t, port)
    await settled(three)
    deepEqual([three.payloads(), three.ids('pubrel')], [[], [second, first]], 'in the order of the PUBRECs')
    three.send({ cmd: 'pubcomp', messageId: first }, { cmd: 'pubcomp', messageId: second })
    // What nobody waits for is answered too, or the client would ask for ever.
    three.send({ cmd: 'pubrec', messageId: 4_711 })
    await drop(three)
    deepEqual(three.ids('pubrel'), [second, first, 4_711])
    const four = await kept(t, port)
    await settled(four)
    deepEqual([four.payloads(), four.ids('pubrel')], [[], []])
  })

  test('is released by its own acknowledgements alone', async (t) => {
    const { port, broker } = await openBroker(t)
    const first = await kept(t, port)
    await subscribeRaw(first, ['a'], 2)
    publish(broker, 'a', 2, 'twice')
    publish(broker, 'a', 1, 'once')
    await until('both', () => first.payloads().length === 2)
    const [twice = 0, once = 0] = first.ids('publish')
    first.send({ cmd: 'puback', messageId: twice }, { cmd: 'pubcomp', messageId: twice })
    first.send({ cmd: 'pubrec', messageId: once }, { cmd: 'pubcomp', messageId: once })
    await drop(first)
    const second = await kept(t, port)
    await settled(second)
    deepEqual(second.payloads(), ['twice', 'once'])
  })
})

describe('message ids', () => {
  test('are not given twice while the client has not given them back', async (t) => {
    const { port, broker } = await openBroker(t)
    const ids = new Set<number | undefined>()
    for (let round = 1; round <= 20; round += 1) {
      const client = await kept(t, port)
      await subscribeRaw(client, ['a'], 2)
      publish(broker, 'a', 1, String(round))
      await until('all so far', () => client.payloads().length === round)
      for (const id of client.ids('publish')) ids.add(id)
      await drop(client)
    }
    equal(ids.size, 20)
  })

  test('come round after 65,535, and leave out those that are held', async (t) => {
    const { port, broker } = await openBroker(t)
    const client = await kept(t, port)
    await subscribeRaw(client, ['a'])
    publish(broker, 'a', 1, 'held')
    await until('it', () => client.payloads().length === 1)
    const held = client.ids('publish')[0]
    for (let sent = 1; sent < 66_000; sent += 6_000) {
      publish(broker, 'a', 1, ...Array<string>(6_000).fill(''))
      await until('these', () => publishes(client).length === 6_001)
      const ids = client.ids('publish').slice(1)
      ok(!ids.includes(held))
      client.send(...ids.map((messageId) => ({ cmd: 'puback', messageId: messageId ?? 0 }) as const))
      await settled(client)
      client.got.splice(0, client.got.length, { cmd: 'publish', messageId: held ?? 0 } as IPublishPacket)
    }
  })

  test('that are all in use let further messages wait, in order', async (t) => {
    const { port, broker } = await openBroker(t, { unacknowledged: 3 })
    for (const clean of [true, false]) {
      const client = await kept(t, port, { clean })
      await subscribeRaw(client, ['a'])
      publish(broker, 'a', 1, '1', '2', '3', '4', '5', '6')
      await settled(client)
      deepEqual(client.payloads(), ['1', '2', '3'])
      for (const messageId of client.ids('publish')) client.send({ cmd: 'puback', messageId: messageId ?? 0 })
      await until('the others', () => client.payloads().length === 6)
      deepEqual(client.payloads(), ['1', '2', '3', '4', '5', '6'])
    }
  })
})
