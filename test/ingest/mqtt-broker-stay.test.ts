import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Principal, Verdict } from '../../src/core/access.ts'
import { createMqttBroker, type MqttBrokerOptions } from '../../src/ingest/mqtt-broker.ts'
import { type Scope, until } from '../support/cleanup.ts'
import { countedMetrics, fakeAccept, fakeAccess, linesLog } from '../support/doors.ts'
import { connectPacket, connectRaw, subscribeRaw } from '../support/raw-mqtt.ts'

interface Said {
  readonly topic: string
  readonly payload: Readonly<Record<string, unknown>>
}

async function open(scope: Scope, more: Partial<MqttBrokerOptions> = {}) {
  const access = fakeAccess(['d-1', 'd-2', 'd+3'])
  const said: Said[] = []
  const sink = fakeAccept()
  const metrics = countedMetrics()
  const broker = await createMqttBroker({
    access: () => access,
    accept: sink.accept,
    announce: (topic, payload) => void said.push({ topic, payload: payload as Said['payload'] }),
    log: linesLog(),
    metrics,
    ...more,
  })
  await broker.listen({ host: '127.0.0.1', port: 0 })
  scope.after(() => broker.close(200))
  const port = broker.address()?.port ?? 0
  const topics = (): string[] => said.map(({ topic }) => topic)
  const about = (topic: string) => said.find((event) => event.topic === topic)?.payload ?? {}
  return { broker, port, access, sink, metrics, said, topics, about }
}

/** Makes every principal that comes in one with these facts. */
function withFacts(access: ReturnType<typeof fakeAccess>, facts: Partial<Principal>): void {
  const before = access.authenticate.bind(access)
  access.authenticate = async (presented) => {
    const verdict: Verdict = await before(presented)
    return verdict.kind === 'principal' ? { kind: 'principal', principal: { ...verdict.principal, ...facts } } : verdict
  }
}

describe('lifecycle events', () => {
  test('say who comes, with AWS’s fields', async (t) => {
    const { port, about } = await open(t, { now: () => 1_700_000_000_000 })
    await connectRaw(t, port)
    await until('the event', () => about('$aws/events/presence/connected/d-1')['clientId'] !== undefined)
    const { sessionIdentifier, ...rest } = about('$aws/events/presence/connected/d-1')
    match(String(sessionIdentifier), /^[\da-f-]{36}$/)
    deepEqual(rest, {
      clientId: 'd-1',
      timestamp: 1_700_000_000_000,
      eventType: 'connected',
      principalIdentifier: 'd-1',
      ipAddress: '127.0.0.1',
      versionNumber: 0,
    })
  })

  test('say who goes and why; versions grow, and the session is the same in all of its events', async (t) => {
    const { port, topics, about, said } = await open(t)
    const first = await connectRaw(t, port)
    await subscribeRaw(first, ['a/+', 'b'])
    first.send({ cmd: 'unsubscribe', messageId: 3, unsubscriptions: ['b'] })
    await until('unsubscribed', () => topics().includes('$aws/events/subscriptions/unsubscribed/d-1'))
    first.send({ cmd: 'disconnect' })
    await until('it has gone', () => topics().includes('$aws/events/presence/disconnected/d-1'))
    deepEqual(topics(), [
      '$aws/events/presence/connected/d-1',
      '$aws/events/subscriptions/subscribed/d-1',
      '$aws/events/subscriptions/unsubscribed/d-1',
      '$aws/events/presence/disconnected/d-1',
    ])
    deepEqual(about('$aws/events/subscriptions/subscribed/d-1')['topics'], ['a/+', 'b'])
    deepEqual(about('$aws/events/subscriptions/unsubscribed/d-1')['topics'], ['b'])
    const gone = about('$aws/events/presence/disconnected/d-1')
    deepEqual([gone['clientInitiatedDisconnect'], gone['disconnectReason']], [true, 'CLIENT_INITIATED_DISCONNECT'])
    equal(new Set(said.map(({ payload }) => payload['sessionIdentifier'])).size, 1)
    const second = await connectRaw(t, port)
    await until('the second', () => said.length === 5)
    equal(said[4]?.payload['versionNumber'], 1)
    second.socket.destroy()
    await until('it is lost', () => said.length === 6)
    deepEqual(
      [said[5]?.payload['clientInitiatedDisconnect'], said[5]?.payload['disconnectReason']],
      [false, 'CONNECTION_LOST'],
    )
  })

  test('tell a takeover, a refused publish and a stop from each other', async (t) => {
    const { port, broker, said, sink } = await open(t)
    sink.reply = ({ topic }) =>
      topic === 'closed' ? { kind: 'refused', id: 'i', status: 403, reason: 'policy', message: 'no' } : undefined
    const reasons = (): unknown[] => said.flatMap(({ payload }) => payload['disconnectReason'] ?? [])
    await connectRaw(t, port)
    const second = await connectRaw(t, port)
    await until('taken over', () => reasons().length === 1)
    second.publish('closed', 1, 1)
    await until('refused', () => reasons().length === 2)
    await connectRaw(t, port, 'd-2')
    await broker.close(200)
    deepEqual(reasons(), ['DUPLICATE_CLIENTID', 'AUTH_ERROR', 'SERVER_INITIATED_DISCONNECT'])
  })

  test('tell what policies deny from what nobody may send', async (t) => {
    const { port, said, sink, metrics } = await open(t)
    sink.reply = ({ topic: reason }) =>
      reason === 'size' || reason === 'topic' || reason === 'request' || reason === 'reserved'
        ? { kind: 'refused', id: 'i', status: 403, reason, message: 'no' }
        : undefined
    const reasons = (): unknown[] => said.flatMap(({ payload }) => payload['disconnectReason'] ?? [])
    for (const [index, topic] of ['size', 'topic', 'request', 'reserved'].entries()) {
      const client = await connectRaw(t, port)
      client.publish(topic, 1, 1)
      await until('it is off', () => reasons().length === index + 1)
    }
    const twice = await connectRaw(t, port)
    twice.send(connectPacket('d-1'))
    await until('a second CONNECT', () => reasons().length === 5)
    deepEqual(reasons(), ['CLIENT_ERROR', 'CLIENT_ERROR', 'CLIENT_ERROR', 'AUTH_ERROR', 'CLIENT_ERROR'])
    const closed = (reason: string) => metrics.total('sluice_broker_connections_closed_total', { reason })
    deepEqual([closed('size'), closed('protocol'), closed('refused')], [1, 3, 1])
  })

  test('leave out what was not granted, and client ids that no topic name can hold', async (t) => {
    const { port, access, topics, about } = await open(t)
    access.denied.add('iot:Subscribe closed')
    const odd = await connectRaw(t, port, 'd+3')
    equal(odd.code, 0)
    const client = await connectRaw(t, port)
    await subscribeRaw(client, ['closed', 'fine'])
    await until('subscribed', () => topics().includes('$aws/events/subscriptions/subscribed/d-1'))
    deepEqual(about('$aws/events/subscriptions/subscribed/d-1')['topics'], ['fine'])
    equal(
      topics().some((topic) => topic.includes('d+3')),
      false,
    )
  })

  test('about subscriptions are bounded for each connection', async (t) => {
    const { port, said, metrics } = await open(t, { now: () => 1_700_000_000_000 })
    const client = await connectRaw(t, port)
    const subscriptions = [{ topic: 'a', qos: 0 as const }]
    for (let messageId = 1; messageId <= 150; messageId += 1)
      client.send({ cmd: 'subscribe', messageId, subscriptions })
    await until('all are answered', () => client.got.filter(({ cmd }) => cmd === 'suback').length === 150)
    await until('some are left out', () => metrics.total('sluice_events_total', { outcome: 'dropped' }) === 50)
    equal(said.filter(({ topic }) => topic === '$aws/events/subscriptions/subscribed/d-1').length, 100)
  })

  test('are handed to those who subscribed to them', async (t) => {
    const { port, broker } = await open(t, {
      announce: (topic, payload) =>
        broker.distribute({ topic, payload: Buffer.from(JSON.stringify(payload)), qos: 0, retain: false }),
    })
    const watcher = await connectRaw(t, port, 'd-2')
    await subscribeRaw(watcher, ['$aws/events/presence/connected/+'], 0)
    await connectRaw(t, port)
    await until('the event', () => watcher.payloads().some((text) => text.includes('"clientId":"d-1"')))
  })
})

describe('who may stay', () => {
  test('a connection ends when its credential does', async (t) => {
    let time = Date.now()
    const { port, access, metrics, about } = await open(t, { now: () => time })
    withFacts(access, { until: time + 60_000 })
    const client = await connectRaw(t, port)
    equal(client.code, 0)
    time += 59_000
    client.send({ cmd: 'pingreq' })
    await until('it is still there', () => client.got.some(({ cmd }) => cmd === 'pingresp'))
    time += 1_000
    await until('it is off', () => client.closed(), 2_000)
    equal(metrics.total('sluice_broker_connections_closed_total', { reason: 'expired' }), 1)
    equal(about('$aws/events/presence/disconnected/d-1')['disconnectReason'], 'AUTH_ERROR')
  })

  test('one whose credential is over already is not let in', async (t) => {
    const { port, access } = await open(t)
    withFacts(access, { until: Date.now() - 1 })
    equal((await connectRaw(t, port)).code, 4)
  })

  test('at renewAt its method is asked again, and what it says now counts', async (t) => {
    let time = Date.now()
    const { port, access } = await open(t, { now: () => time })
    withFacts(access, { renewAt: time + 10_000 })
    let renewed = 0
    let good = true
    access.renew = async (_presented, principal) => {
      renewed += 1
      return good
        ? { kind: 'principal', principal: { ...principal, renewAt: time + 10_000 } }
        : { kind: 'refused', reason: 'gone' }
    }
    const client = await connectRaw(t, port)
    time += 10_000
    await until('it is asked', () => renewed === 1, 2_000)
    ok(!client.closed())
    good = false
    time += 10_000
    await until('it is off', () => client.closed(), 2_000)
    equal(renewed, 2)
  })

  test('a recheck of some leaves the others alone', async (t) => {
    const { broker, port, access } = await open(t)
    const one = await connectRaw(t, port, 'd-1')
    const two = await connectRaw(t, port, 'd-2')
    access.tokens.clear()
    await broker.recheck(({ name }) => name === 'd-1')
    await until('the one is off', () => one.closed(), 2_000)
    ok(!two.closed())
    await broker.recheck()
    await until('and so is the other', () => two.closed(), 2_000)
  })

  test('a recheck that comes while somebody is judged is not lost on it', async (t) => {
    const { broker, port, access } = await open(t)
    const asked = Promise.withResolvers<void>()
    const answer = Promise.withResolvers<void>()
    const authenticate = access.authenticate.bind(access)
    const renew: typeof access.authenticate = (presented) => authenticate(presented)
    access.renew = renew
    access.authenticate = async (presented) => {
      const verdict = await authenticate(presented)
      asked.resolve()
      await answer.promise
      return verdict
    }
    const connecting = connectRaw(t, port)
    await asked.promise
    access.tokens.clear()
    await broker.recheck()
    answer.resolve()
    const client = await connecting
    await until('it is off', () => client.closed(), 2_000)
  })

  test('a recheck that comes while one is asked is not lost', async (t) => {
    const { broker, port, access } = await open(t)
    const client = await connectRaw(t, port)
    const asked = Promise.withResolvers<void>()
    const answer = Promise.withResolvers<void>()
    const renew = access.renew.bind(access)
    access.renew = async (presented, principal) => {
      const verdict = await renew(presented, principal)
      asked.resolve()
      await answer.promise
      return verdict
    }
    const first = broker.recheck()
    await asked.promise
    access.tokens.clear()
    await broker.recheck()
    answer.resolve()
    await first
    await until('it is off', () => client.closed(), 2_000)
  })
})

describe('a client id that connects over and over', () => {
  test('is told to wait, whatever principal it is; others are not', async (t) => {
    const { port, said } = await open(t, { limits: { connectsPerSecond: 0.001, connectBurst: 3 } })
    const codes: (number | undefined)[] = []
    for (let count = 0; count < 5; count += 1) codes.push((await connectRaw(t, port)).code)
    deepEqual(codes, [0, 0, 0, 3, 3])
    equal((await connectRaw(t, port, 'd-2')).code, 0)
    equal(said.filter(({ topic }) => topic === '$aws/events/presence/connected/d-1').length, 3)
  })

  test('may not be used up by who may not use it', async (t) => {
    const { port, access } = await open(t, { limits: { connectsPerSecond: 0.001, connectBurst: 1 } })
    access.denied.add('d-2 iot:Connect d-1')
    for (let count = 0; count < 3; count += 1) equal((await connectRaw(t, port, 'd-2', { clientId: 'd-1' })).code, 5)
    equal((await connectRaw(t, port)).code, 0)
  })
})

describe('a SUBSCRIBE that policies deny', () => {
  test('gets 0x80 by default', async (t) => {
    const { port, access } = await open(t)
    access.denied.add('iot:Subscribe closed')
    const client = await connectRaw(t, port)
    deepEqual(await subscribeRaw(client, ['closed', 'fine']), [0x80, 1])
    ok(!client.closed())
  })

  test('ends the connection where that is wanted, as AWS IoT of 2019', async (t) => {
    const { port, access, about } = await open(t, { deniedSubscribe: 'disconnect' })
    access.denied.add('iot:Subscribe closed')
    const client = await connectRaw(t, port)
    deepEqual(await subscribeRaw(client, ['fine', 'closed']), [])
    ok(client.closed())
    await until('the event', () => about('$aws/events/presence/disconnected/d-1')['disconnectReason'] === 'AUTH_ERROR')
  })
})
