import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Aedes } from 'aedes'
import type { Accepted } from '../../src/core/access.ts'
import { makeBridge, startBridge, subscribed } from '../support/bridge.ts'
import { type Scope, until } from '../support/cleanup.ts'
import { fakeAccept } from '../support/doors.ts'
import { createMemoryQueues } from '../support/memory-queues.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { answerPings, mqttClient, publishMany, type ScriptedBroker, startScriptedBroker } from '../support/mqtt.ts'

const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index))
const later: Accepted = { kind: 'later', id: 'i', status: 503, afterMs: 10, message: 'away' }
const refused = (reason: 'policy' | 'topic' | 'size' | 'request'): Accepted => ({
  kind: 'refused',
  id: 'i',
  status: 403,
  reason,
  message: 'no',
})

function send(broker: ScriptedBroker, from: number, to: number, topic = 'devices/d-1/t'): void {
  for (let id = from; id <= to; id += 1) {
    broker.send({ cmd: 'publish', topic, payload: String(id), qos: 1, messageId: id, dup: false, retain: false })
  }
}
const acknowledged = (broker: ScriptedBroker) =>
  broker.got.flatMap((packet) => (packet.cmd === 'puback' ? [{ id: packet.messageId, reason: packet.reasonCode }] : []))

describe('bridge, acknowledging', () => {
  it('acknowledges in the order of arrival, whatever is durable first', async (t) => {
    const broker = await startScriptedBroker(t)
    const { door, bridge } = await startBridge(t, broker.url)
    door.hold(({ payload }) => payload.toString() === '1')
    send(broker, 1, 200)
    await until('200 messages', () => door.taken.length === 200)
    assert.deepEqual(acknowledged(broker), [])
    assert.equal(bridge.state().inFlight, 200)
    door.release()
    await until('200 acknowledgements', () => acknowledged(broker).length === 200)
    assert.deepEqual(
      acknowledged(broker).map(({ id }) => id),
      Array.from({ length: 200 }, (_, index) => index + 1),
    )
    assert.equal(bridge.state().inFlight, 0)
  })

  it('acknowledges by order, not by packet id, where the broker gives an id twice', async (t) => {
    const broker = await startScriptedBroker(t)
    const { door } = await startBridge(t, broker.url)
    door.hold(({ payload }) => payload.toString() === '1')
    send(broker, 1, 2)
    send(broker, 1, 2)
    await until('4 messages', () => door.taken.length === 4)
    door.release()
    await until('4 acknowledgements', () => acknowledged(broker).length === 4)
    assert.deepEqual(
      acknowledged(broker).map(({ id }) => id),
      [1, 2, 1, 2],
    )
  })

  it('takes 5,000 messages through a slow accept, in order, never more than the receive maximum at once', async (t) => {
    const broker = await startMosquitto(t)
    const door = fakeAccept()
    let inHand = 0
    let most = 0
    const slow = {
      ...door,
      accept: async (...parameters: Parameters<typeof door.accept>) => {
        most = Math.max(most, (inHand += 1))
        await new Promise((resolve) => setTimeout(resolve, 5))
        inHand -= 1
        return door.accept(...parameters)
      },
    }
    const { payloads } = await startBridge(t, broker.url, { receiveMaximum: 200 }, { door: slow })
    await publishMany(await mqttClient(t, broker.url), 'devices/d-1/t', 5_000)
    await until('5,000 messages', () => payloads().length === 5_000)
    assert.deepEqual(payloads(), numbers(5_000))
    assert.ok(most <= 200, `${most} in hand`)
  })

  it('stops reading at its own count, though the broker does not keep to the receive maximum', async (t) => {
    const broker = await startScriptedBroker(t)
    const { door } = await startBridge(t, broker.url, { receiveMaximum: 10 })
    door.hold()
    send(broker, 1, 500)
    await until('10 messages', () => door.taken.length === 10)
    await new Promise((resolve) => setTimeout(resolve, 100))
    assert.equal(door.taken.length, 10)
    door.release()
    await until('500 acknowledgements', () => acknowledged(broker).length === 500)
  })

  it('stops reading at a count of bytes too', async (t) => {
    const broker = await startScriptedBroker(t)
    const { door } = await startBridge(t, broker.url, {}, { limits: { inHandBytes: 1_000 } })
    door.hold()
    const payload = Buffer.alloc(300)
    for (let messageId = 1; messageId <= 50; messageId += 1) {
      broker.send({ cmd: 'publish', topic: 'devices/d-1/t', payload, qos: 1, messageId, dup: false, retain: false })
    }
    await until('4 messages', () => door.taken.length === 4)
    await new Promise((resolve) => setTimeout(resolve, 100))
    assert.equal(door.taken.length, 4)
    door.release()
    await until('50 acknowledgements', () => acknowledged(broker).length === 50)
  })

  it('tells an MQTT 5 broker why it refused, and goes on', async (t) => {
    const broker = await startScriptedBroker(t)
    const { door } = await startBridge(t, broker.url)
    const answers = new Map([
      ['1', refused('policy')],
      ['2', refused('topic')],
      ['3', refused('size')],
      ['4', refused('request')],
    ])
    door.reply = ({ payload }) => answers.get(payload.toString())
    send(broker, 1, 5)
    await until('5 acknowledgements', () => acknowledged(broker).length === 5)
    assert.deepEqual(
      acknowledged(broker).map(({ reason }) => reason),
      [0x87, 0x90, 0x97, 0x83, 0],
    )
  })

  it('is taken at its word by Mosquitto: a refused message does not come again', async (t) => {
    const broker = await startMosquitto(t)
    const { door, payloads, bridge } = await startBridge(t, broker.url)
    door.reply = ({ payload }) => (Number(payload.toString()) % 2 === 0 ? refused('policy') : undefined)
    await publishMany(await mqttClient(t, broker.url), 'devices/d-1/t', 100)
    await until('100 messages', () => payloads().length === 100)
    await until('nothing in hand', () => bridge.state().inFlight === 0)
    await bridge.stop()
    const again = await startBridge(t, broker.url)
    await publishMany(await mqttClient(t, broker.url), 'devices/d-1/t', 1, 100)
    await until('the next message', () => again.payloads().length > 0)
    assert.deepEqual(again.payloads(), ['100'])
  })

  it('acknowledges a refused message only when it is kept', async (t) => {
    const broker = await startScriptedBroker(t)
    let away = true
    const { door, kept } = await startBridge(t, broker.url, {}, { cannotKeep: () => away })
    door.reply = ({ payload }) => (payload.toString() === '1' ? refused('policy') : undefined)
    send(broker, 1, 2)
    await until('an offer', () => door.taken.length >= 2)
    assert.deepEqual(acknowledged(broker), [])
    away = false
    await until('2 acknowledgements', () => acknowledged(broker).length === 2)
    assert.deepEqual(
      acknowledged(broker).map(({ reason }) => reason),
      [0x87, 0],
    )
    assert.deepEqual(
      kept.map(({ publish, reason, because }) => [publish.payload.toString(), reason, because]),
      [['1', 'policy', 'no']],
    )
  })

  it('refuses what is too large to be kept, says so, and takes the next', async (t) => {
    const broker = await startScriptedBroker(t)
    const { door, metrics, lines } = await startBridge(t, broker.url)
    broker.send({
      cmd: 'publish',
      topic: 'devices/d-1/t',
      payload: Buffer.alloc(400_000),
      qos: 1,
      messageId: 1,
      dup: false,
      retain: false,
    })
    send(broker, 2, 2)
    await until('2 acknowledgements', () => acknowledged(broker).length === 2)
    assert.deepEqual(acknowledged(broker), [
      { id: 1, reason: 0x97 },
      { id: 2, reason: 0 },
    ])
    assert.equal(door.taken.length, 1)
    assert.equal(metrics.total('sluice_messages_refused_total', { door: 'bridge', reason: 'size' }), 1)
    assert.ok(lines.some((line) => line.includes('400') && line.includes('size')))
  })
})

describe('bridge, when the queue is away', () => {
  it('keeps messages in hand, reads no more, stays connected, and loses nothing', async (t) => {
    const broker = await startMosquitto(t)
    const { door, bridge, lines } = await startBridge(t, broker.url, { receiveMaximum: 50, keepalive: 1_000 })
    let away = true
    const accepted: string[] = []
    door.reply = ({ payload }) => {
      if (away) return later
      accepted.push(payload.toString())
      return undefined
    }
    const publisher = await mqttClient(t, broker.url)
    await publishMany(publisher, 'devices/d-1/t', 500)
    await until('some messages', () => door.taken.length > 0)
    // Longer than the 1.5 keep alives after which the broker would throw us out.
    await new Promise((resolve) => setTimeout(resolve, 2_200))
    assert.ok(bridge.state().inFlight <= 50, `${bridge.state().inFlight} in hand`)
    // One message is offered now and then, not all of them again and again.
    assert.ok(door.taken.length < 200, `${door.taken.length} offers`)
    away = false
    await until('500 messages', () => accepted.length === 500)
    assert.deepEqual(accepted, numbers(500))
    await until('nothing in hand', () => bridge.state().inFlight === 0)
    assert.equal(lines.filter((line) => line.startsWith('connected')).length, 1)
  })

  it('treats an accept that throws as "not now"', async (t) => {
    const broker = await startScriptedBroker(t)
    const door = fakeAccept()
    let calls = 0
    const broken = {
      ...door,
      accept: async (...parameters: Parameters<typeof door.accept>) => {
        if ((calls += 1) < 3) throw new Error('a defect')
        return door.accept(...parameters)
      },
    }
    await startBridge(t, broker.url, {}, { door: broken, limits: { again: { first: 1, max: 5 } } })
    send(broker, 1, 1)
    await until('the acknowledgement', () => acknowledged(broker).length === 1)
    assert.equal(calls, 3)
  })

  for (const sessionPresent of [true, false]) {
    it(`has each message once, when meanwhile the connection was lost and the session ${sessionPresent ? 'was not' : 'too'}`, async (t) => {
      const broker = await startScriptedBroker(t)
      // A loss is noticed by writing, while nothing is read.
      const made = await startBridge(t, broker.url, { keepalive: 100 })
      const { door } = made
      let away = true
      const accepted: string[] = []
      door.reply = ({ payload }) => {
        if (away) return later
        accepted.push(payload.toString())
        return undefined
      }
      send(broker, 1, 3)
      await until('the offers', () => door.taken.length >= 3)
      broker.connack = () => ({ sessionPresent })
      broker.sockets.at(-1)?.destroy()
      // Not subscribed yet where the messages are ours alone: nothing is read then.
      await until('the next connection', () => made.lines.filter((line) => line.startsWith('connected')).length === 2)
      if (sessionPresent) send(broker, 1, 3)
      send(broker, 4, 4)
      away = false
      await until('4 messages', () => accepted.length === 4)
      await until('nothing in hand', () => made.bridge.state().inFlight === 0)
      assert.deepEqual(accepted.toSorted(), ['1', '2', '3', '4'])
      const wanted = sessionPresent ? [1, 2, 3, 4] : [4]
      await until('the acknowledgements', () => acknowledged(broker).length >= wanted.length)
      assert.deepEqual(
        acknowledged(broker).map(({ id }) => id),
        wanted,
      )
    })
  }
})

describe('bridge, the session', () => {
  it('comes back after the broker was killed, and nothing is missing', async (t) => {
    const broker = await startMosquitto(t)
    const made = await startBridge(t, broker.url)
    made.door.hold()
    await publishMany(await mqttClient(t, broker.url), 'devices/d-1/t', 20)
    await until('20 messages', () => made.taken().length === 20)
    // Mosquitto keeps what it has once a second; what it has acknowledged since is its own loss (docs/bridge.md).
    const published = Date.now()
    await until('Mosquitto to have saved', async () => {
      const file = await stat(join(broker.folder, 'mosquitto.db')).catch(() => undefined)
      return file !== undefined && file.mtimeMs > published
    })
    await broker.stop('SIGKILL')
    await until('the loss to be noticed', () => !made.bridge.state().connected)
    assert.match(made.bridge.state().lastError ?? '', /closed the connection|ECONNREFUSED/)
    const again = await startMosquitto(t, { port: broker.port, folder: broker.folder })
    await subscribed(made, 2)
    made.door.release()
    await publishMany(await mqttClient(t, again.url), 'devices/d-1/t', 10, 20)
    await until('30 different messages', () => new Set(made.payloads()).size === 30)
    await until('nothing in hand', () => made.bridge.state().inFlight === 0)
    assert.equal(made.bridge.state().lastError, undefined)
    assert.equal(made.metrics.total('sluice_bridge_sessions_lost_total'), 0)
  })

  it('counts a session that the broker has lost', async (t) => {
    const broker = await startScriptedBroker(t)
    const queues = createMemoryQueues()
    const first = await startBridge(t, broker.url, {}, queues)
    assert.equal(first.metrics.total('sluice_bridge_sessions_lost_total'), 0)
    await first.bridge.stop()
    const second = await startBridge(t, broker.url, {}, queues)
    assert.equal(second.metrics.total('sluice_bridge_sessions_lost_total', { bridge: 'plant' }), 1)
    assert.ok(second.lines.some((line) => line.startsWith('the broker has lost our session')))
  })

  it('is asked for with a long expiry, the receive maximum and a client id of its own', async (t) => {
    const broker = await startScriptedBroker(t)
    await startBridge(t, broker.url, { sessionExpiry: 604_800_000, username: 'u', password: 'p' })
    const [connect] = broker.got
    assert.ok(connect?.cmd === 'connect')
    assert.deepEqual(
      [connect.clientId, connect.clean, connect.keepalive, connect.username],
      ['sluice-plant-1', false, 30, 'u'],
    )
    assert.deepEqual({ ...connect.properties }, { sessionExpiryInterval: 604_800, receiveMaximum: 1000 })
    const subscribe = broker.got.find(({ cmd }) => cmd === 'subscribe')
    assert.ok(subscribe?.cmd === 'subscribe')
    assert.deepEqual(subscribe.subscriptions, [{ topic: 'devices/#', qos: 1, nl: false, rap: true, rh: 1 }])
  })

  it('takes over what was published while it was away, and unsubscribes what has left the config', async (t) => {
    const broker = await startMosquitto(t)
    const queues = createMemoryQueues()
    const first = await startBridge(t, broker.url, { topics: ['a/#', 'b/#'] }, queues)
    await first.bridge.stop()
    const publisher = await mqttClient(t, broker.url)
    await publishMany(publisher, 'b/1', 3)
    const second = await startBridge(t, broker.url, { topics: ['b/#', 'c/#'] }, queues)
    await until('what waited', () => second.payloads().length === 3)
    await publisher.publishAsync('a/1', 'gone', { qos: 1 })
    await publisher.publishAsync('b/1', 'kept', { qos: 1 })
    await publisher.publishAsync('c/1', 'new', { qos: 1 })
    await until('the last', () => second.payloads().includes('new'))
    assert.deepEqual(second.payloads(), ['0', '1', '2', 'kept', 'new'])
  })

  it('says which filter the broker refuses, and takes the others', async (t) => {
    const broker = await startScriptedBroker(t)
    broker.onPacket = (packet, socket, reply) => {
      if (packet.cmd !== 'subscribe') return answerPings(packet, socket, reply)
      reply({ cmd: 'suback', messageId: packet.messageId ?? 0, granted: [0x87, 1] })
    }
    const { bridge, door } = await startBridge(t, broker.url, { topics: ['a/#', 'b/#'] })
    assert.equal(bridge.state().lastError, 'the broker refused the subscription to a/#: not authorized (0x87)')
    send(broker, 1, 1, 'b/1')
    await until('the message', () => door.taken.length === 1)
  })

  it('stops for another ingest that takes its session over, and does not fight', async (t) => {
    const broker = await startMosquitto(t)
    const queues = createMemoryQueues()
    const first = await startBridge(t, broker.url, {}, queues)
    const second = await startBridge(t, broker.url, {}, queues)
    const message = /another ingest has connected with the same client id; let one ingest only/
    await assert.rejects(first.bridge.ended, { code: 'TAKEN_OVER', message })
    assert.match(first.bridge.state().lastError ?? '', /sluice-plant-1/)
    await publishMany(await mqttClient(t, broker.url), 'devices/d-1/t', 10)
    await until('the messages', () => second.payloads().length === 10)
    assert.equal(first.lines.filter((line) => line.startsWith('connected')).length, 1)
    assert.equal(second.lines.filter((line) => line.startsWith('connected')).length, 1)
    await first.bridge.stop()
  })

  it('stops at once where the broker says that the session was taken over', async (t) => {
    const broker = await startScriptedBroker(t)
    const { bridge, lines } = await startBridge(t, broker.url)
    broker.send({ cmd: 'disconnect', reasonCode: 0x8e })
    await assert.rejects(bridge.ended, { code: 'TAKEN_OVER', message: /another client/ })
    assert.equal(lines.filter((line) => line.startsWith('connected')).length, 1)
  })

  it('gives in to a client that comes back again and again with its client id', async (t) => {
    const broker = await startMosquitto(t)
    const { bridge, lines } = await startBridge(t, broker.url)
    const rival = await mqttClient(t, broker.url, { clientId: 'sluice-plant-1', clean: false, reconnectPeriod: 50 })
    await assert.rejects(bridge.ended, { code: 'TAKEN_OVER' })
    await until('the rival to stay', () => rival.connected)
    assert.equal(lines.filter((line) => line.startsWith('connected')).length, 3)
  })
})

describe('bridge, retained messages', () => {
  const modes = { once: ['retained', 'x'], never: ['x'], always: ['retained', 'x', 'retained'] } as const
  for (const [retained, wanted] of Object.entries(modes)) {
    it(`come as "${retained}" says`, async (t) => {
      const broker = await startMosquitto(t)
      const publisher = await mqttClient(t, broker.url)
      await publisher.publishAsync('devices/d-1/t', 'retained', { qos: 1, retain: true })
      const queues = createMemoryQueues()
      const settings = { retained: retained as keyof typeof modes }
      const first = await startBridge(t, broker.url, settings, queues)
      await publisher.publishAsync('devices/d-1/t2', 'x', { qos: 1 })
      await until('the message', () => first.payloads().includes('x'))
      await first.bridge.stop()
      const second = await startBridge(t, broker.url, settings, queues)
      await publisher.publishAsync('devices/d-1/t3', 'end', { qos: 1 })
      await until('the message', () => second.payloads().includes('end'))
      assert.deepEqual(
        [...first.payloads(), ...second.payloads()].filter((payload) => payload !== 'end'),
        wanted,
      )
    })
  }
})

describe('bridge, QoS 0', () => {
  for (const qos0 of ['drop', 'pause'] as const) {
    it(`over its buffer: ${qos0}`, async (t) => {
      const broker = await startScriptedBroker(t)
      const { door, metrics, taken } = await startBridge(t, broker.url, { qos0 }, { limits: { qos0Buffer: 10 } })
      door.hold()
      for (let count = 0; count < 30; count += 1) {
        broker.send({
          cmd: 'publish',
          topic: 'devices/d-1/t',
          payload: String(count),
          qos: 0,
          dup: false,
          retain: false,
        })
      }
      await until('a full buffer', () => taken().length === 10)
      const dropped = () => metrics.total('sluice_bridge_messages_dropped_total', { bridge: 'plant', reason: 'qos0' })
      if (qos0 === 'drop') await until('the drops', () => dropped() === 20)
      door.release()
      send(broker, 1, 1)
      await until('the acknowledgement', () => acknowledged(broker).length === 1)
      assert.deepEqual([taken().length, dropped()], qos0 === 'drop' ? [11, 20] : [31, 0])
    })
  }
})

describe('bridge, stopping', () => {
  it('finishes what is in hand, acknowledges it, and leaves the session to come back to', async (t) => {
    const broker = await startMosquitto(t)
    const { door, bridge, payloads } = await startBridge(t, broker.url, { receiveMaximum: 10 })
    door.hold()
    const publisher = await mqttClient(t, broker.url)
    await publishMany(publisher, 'devices/d-1/t', 100)
    await until('10 messages', () => payloads().length === 10)
    const stopping = bridge.stop()
    door.release()
    await stopping
    await bridge.ended
    assert.equal(payloads().length, 10)
    assert.match(broker.output(), /Client sluice-plant-1 disconnected\./)
    const again = await startBridge(t, broker.url)
    await until('the rest', () => again.payloads().length >= 90)
    assert.deepEqual([...payloads(), ...again.payloads()], numbers(100))
  })

  it('takes everything that the session has, and ends it, when it leaves', async (t) => {
    const broker = await startMosquitto(t)
    const queues = createMemoryQueues()
    const { door, bridge, payloads } = await startBridge(t, broker.url, { receiveMaximum: 10 }, queues)
    door.hold()
    const publisher = await mqttClient(t, broker.url)
    await publishMany(publisher, 'devices/d-1/t', 500)
    await until('10 messages', () => payloads().length === 10)
    const stopping = bridge.stop({ leave: true })
    door.release()
    await stopping
    assert.deepEqual(payloads(), numbers(500))
    await publishMany(publisher, 'devices/d-1/t', 1)
    const again = await startBridge(t, broker.url, {}, queues)
    await publishMany(publisher, 'devices/d-1/t', 1, 7)
    await until('the next', () => again.payloads().length > 0)
    assert.deepEqual(again.payloads(), ['7'])
    assert.equal(again.metrics.total('sluice_bridge_sessions_lost_total'), 0)
  })

  it('gives a broker that is slow the time to read the acknowledgements, so that nothing comes twice', async (t) => {
    const broker = await startMosquitto(t)
    const { door, bridge, payloads } = await startBridge(t, broker.url, { receiveMaximum: 100 })
    door.hold()
    await publishMany(await mqttClient(t, broker.url), 'devices/d-1/t', 1_000)
    await until('100 messages', () => payloads().length >= 100)
    broker.child.kill('SIGSTOP')
    t.after(() => broker.child.kill('SIGCONT'))
    const stopping = bridge.stop({ deadlineMs: 20_000 })
    door.release()
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    broker.child.kill('SIGCONT')
    await stopping
    assert.match(broker.output(), /Client sluice-plant-1 disconnected\.$/m)
    const again = await startBridge(t, broker.url)
    await until('the rest', () => payloads().length + again.payloads().length >= 1_000)
    assert.deepEqual([...payloads(), ...again.payloads()], numbers(1_000))
  })

  it('waits for what stands before an accepted message, which would otherwise come twice', async (t) => {
    const broker = await startMosquitto(t)
    const { door, bridge, payloads } = await startBridge(t, broker.url)
    let away = true
    door.reply = ({ payload }) => (away && payload.toString() === '0' ? later : undefined)
    // All five are in hand before the first has its answer; after that nothing more would be read.
    door.hold(({ payload }) => payload.toString() === '0')
    await publishMany(await mqttClient(t, broker.url), 'devices/d-1/t', 5)
    await until('5 offers', () => door.taken.length >= 5)
    door.release()
    const stopping = bridge.stop({ deadlineMs: 20_000 })
    setTimeout(() => (away = false), 300)
    await stopping
    const again = await startBridge(t, broker.url)
    await publishMany(await mqttClient(t, broker.url), 'devices/d-1/t', 1, 5)
    await until('the next', () => again.payloads().includes('5'))
    assert.deepEqual(again.payloads(), ['5'])
    assert.deepEqual(new Set(payloads()), new Set(numbers(5)))
  })

  it('does not wait for a queue that is away: the broker has the messages still', async (t) => {
    const broker = await startMosquitto(t)
    const { door, bridge } = await startBridge(t, broker.url)
    door.reply = () => later
    await publishMany(await mqttClient(t, broker.url), 'devices/d-1/t', 5)
    await until('an offer', () => door.taken.length >= 5)
    await bridge.stop({ deadlineMs: 60_000 })
    const again = await startBridge(t, broker.url)
    await until('5 messages again', () => again.payloads().length === 5)
  })

  it('ends at its deadline, and what was not acknowledged comes again', async (t) => {
    const broker = await startMosquitto(t)
    const { door, bridge, payloads } = await startBridge(t, broker.url)
    door.hold()
    await publishMany(await mqttClient(t, broker.url), 'devices/d-1/t', 5)
    await until('5 messages', () => payloads().length === 5)
    await bridge.stop({ deadlineMs: 50 })
    const again = await startBridge(t, broker.url)
    await until('5 messages again', () => again.payloads().length === 5)
  })

  it('can be stopped while there is no broker', async (t) => {
    const broker = await startScriptedBroker(t)
    broker.connack = () => ({ reasonCode: 0x86 })
    const { bridge } = makeBridge(t, broker.url)
    bridge.start()
    await until('the refusal', () => bridge.state().lastError !== undefined)
    assert.deepEqual(bridge.state(), {
      connected: false,
      inFlight: 0,
      clientId: 'sluice-plant-1',
      lastError: 'the broker refused us: bad user name or password, code 134',
    })
    await bridge.stop()
    await bridge.ended
  })
})

describe('bridge, MQTT 3.1.1', () => {
  async function startAedes(scope: Scope): Promise<string> {
    const aedes = await Aedes.createBroker()
    const server = createServer((socket) => aedes.handle(socket))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    scope.after(async () => {
      await new Promise<void>((resolve) => aedes.close(resolve))
      server.close()
    })
    const address = server.address()
    assert.ok(address !== null && typeof address === 'object')
    return `mqtt://127.0.0.1:${address.port}`
  }

  it('takes messages from a broker that knows nothing newer, and leaves no session behind when it leaves', async (t) => {
    const url = await startAedes(t)
    const queues = createMemoryQueues()
    const { bridge, payloads } = await startBridge(t, url, {}, queues)
    const publisher = await mqttClient(t, url, { protocolVersion: 4 })
    await publishMany(publisher, 'devices/d-1/t', 200)
    await until('200 messages', () => payloads().length === 200)
    assert.deepEqual(payloads(), numbers(200))
    await bridge.stop({ leave: true })
    await publishMany(publisher, 'devices/d-1/t', 5)
    const again = await startBridge(t, url, {}, queues)
    await publishMany(publisher, 'devices/d-1/t', 1, 7)
    await until('the next', () => again.payloads().length > 0)
    assert.deepEqual(again.payloads(), ['7'])
  })

  it('subscribes only what is new where the session is there', async (t) => {
    const broker = await startScriptedBroker(t)
    broker.connack = (version) => (version === 5 ? { reasonCode: 1 } : {})
    const queues = createMemoryQueues()
    await (await startBridge(t, broker.url, { topics: ['a/#', 'b/#'] }, queues)).bridge.stop()
    broker.connack = (version) => (version === 5 ? { reasonCode: 1 } : { sessionPresent: true })
    const sent = (cmd: string) =>
      broker.got.flatMap((packet) => {
        if (packet.cmd !== cmd) return []
        if (packet.cmd === 'subscribe') return [packet.subscriptions.map(({ topic }) => topic)]
        return packet.cmd === 'unsubscribe' ? [packet.unsubscriptions] : []
      })
    await (await startBridge(t, broker.url, { topics: ['a/#', 'b/#'] }, queues)).bridge.stop()
    assert.deepEqual(sent('subscribe'), [['a/#', 'b/#']])
    await (await startBridge(t, broker.url, { topics: ['b/#', 'c/#'] }, queues)).bridge.stop()
    assert.deepEqual(sent('subscribe'), [['a/#', 'b/#'], ['c/#']])
    assert.deepEqual(sent('unsubscribe'), [['a/#']])
  })

  it('ignores retained messages where they are to come never', async (t) => {
    const broker = await startScriptedBroker(t)
    broker.connack = (version) => (version === 5 ? { reasonCode: 1 } : {})
    const { payloads, metrics } = await startBridge(t, broker.url, { retained: 'never' })
    broker.send({
      cmd: 'publish',
      topic: 'devices/d-1/t',
      payload: 'old',
      qos: 1,
      messageId: 1,
      dup: false,
      retain: true,
    })
    send(broker, 2, 2)
    await until('2 acknowledgements', () => acknowledged(broker).length === 2)
    assert.deepEqual(payloads(), ['2'])
    assert.equal(metrics.total('sluice_bridge_messages_dropped_total', { bridge: 'plant', reason: 'retained' }), 1)
  })
})
