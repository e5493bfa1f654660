import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Publish, Speaker } from '../../../src/core/access.ts'
import { Retained } from '../../../src/ingest/broker/retained.ts'
import { openBroker, publishes, settled } from '../../support/broker.ts'
import { type Scope, until } from '../../support/cleanup.ts'
import { connectRaw, type RawMqtt, subscribeRaw } from '../../support/raw-mqtt.ts'

/** Publishes a retained message at QoS 1; whether it was acknowledged. */
async function retain(client: RawMqtt, topic: string, payload: string): Promise<boolean> {
  const before = client.ids('puback').length
  client.publish(topic, 1, 1, { retain: true, payload })
  await until('an answer', () => client.closed() || client.ids('puback').length > before)
  return !client.closed()
}

/** What is retained, as a client of its own sees it. */
async function kept(scope: Scope, port: number): Promise<string[]> {
  const client = await connectRaw(scope, port, 'd-3')
  await subscribeRaw(client, ['#'])
  await settled(client)
  client.socket.destroy()
  return publishes(client).map(({ topic, payload }) => `${topic} ${String(payload)}`)
}

const speaker = (name: string): Speaker => ({ principal: { name, method: 'token' }, protocol: 'http' })
const will = (topic: string, payload = 'gone') =>
  ({ topic, payload: Buffer.from(payload), qos: 1, retain: true }) as const

describe('a retained message', () => {
  test('is refused before anything has it, where its principal has no room, and others have theirs', async (t) => {
    const { port, sink, metrics, log } = await openBroker(t, { retainedPerPrincipal: 2 })
    const first = await connectRaw(t, port)
    for (const topic of ['r/1', 'r/2']) ok(await retain(first, topic, 'one'))
    ok(await retain(first, 'r/2', 'two'), 'in the place of its own')
    equal(await retain(first, 'r/3', 'three'), false)
    equal(sink.taken.length, 3, 'neither rules nor subscribers have it')
    equal(metrics.total('sluice_messages_refused_total', { door: 'mqtt', reason: 'retained' }), 1)
    match(
      log.lines.find((line) => line.startsWith('refused')) ?? '',
      /"principal":"d-1","topic":"r\/3".*has 2 retained messages/,
    )
    ok(await retain(await connectRaw(t, port, 'd-2'), 'r/3', 'other'))
    deepEqual(await kept(t, port), ['r/1 one', 'r/2 two', 'r/3 other'])
    equal(metrics.total('sluice_broker_retained_messages'), 3)
  })

  test('costs its bytes; deleting gives room back, and who replaces another’s pays', async (t) => {
    const { port } = await openBroker(t, { retainedPerPrincipal: 2, retainedBytesPerPrincipal: 1_000 })
    const [first, second] = [await connectRaw(t, port), await connectRaw(t, port, 'd-2')]
    ok(await retain(first, 'r/1', 'x'.repeat(500)))
    equal(await retain(first, 'r/2', 'x'.repeat(200)), false)
    const again = await connectRaw(t, port)
    ok(await retain(again, 'r/1', ''))
    ok(await retain(again, 'r/2', 'x'.repeat(700)))
    ok(await retain(second, 'r/2', 'x'.repeat(700)), 'now it is the second’s')
    ok(await retain(again, 'r/1', 'x'.repeat(700)))
    equal(await retain(second, 'r/1', 'x'.repeat(700)), false)
    deepEqual(
      (await kept(t, port)).map((text) => text.slice(0, 3)),
      ['r/2', 'r/1'],
    )
  })

  test('is bounded over all too', async (t) => {
    const { port } = await openBroker(t, { retained: 2 })
    const [first, second] = [await connectRaw(t, port), await connectRaw(t, port, 'd-2')]
    ok(await retain(first, 'r/1', 'one'))
    ok(await retain(second, 'r/2', 'two'))
    ok(await retain(second, 'r/2', 'new'))
    equal(await retain(second, 'r/3', 'three'), false)
    ok(await retain(first, 'r/1', ''))
    ok(await retain(first, 'r/3', 'three'))
    deepEqual(await kept(t, port), ['r/2 new', 'r/3 three'])
  })

  test('of QoS 0, which nobody acknowledges, is delivered and not kept, nor is the one before it', async (t) => {
    const { port, dropped } = await openBroker(t, { retainedBytesPerPrincipal: 300 })
    const watcher = await connectRaw(t, port, 'd-2')
    await subscribeRaw(watcher, ['r'])
    const client = await connectRaw(t, port)
    ok(await retain(client, 'r', 'old'))
    client.publish('r', 0, 0, { retain: true, payload: 'x'.repeat(300) })
    await until('both are delivered', () => watcher.payloads().length === 2)
    deepEqual([client.closed(), await kept(t, port), dropped('retained-full')], [false, [], 1])
  })

  test('that is not accepted gives its room back, and takes it while it is on its way', async (t) => {
    const { port, sink } = await openBroker(t, { retainedPerPrincipal: 1 })
    let away = true
    sink.reply = () => (away ? { kind: 'later', id: 'i', status: 503, afterMs: 20, message: 'away' } : undefined)
    const first = await connectRaw(t, port)
    first.publish('r/1', 1, 1, { retain: true })
    await until('it is tried', () => sink.taken.length > 1)
    first.socket.end()
    await until('it has gone', first.closed)
    sink.reply = ({ topic }) =>
      topic === 'no' ? { kind: 'refused', id: 'i', status: 403, reason: 'policy', message: 'no' } : undefined
    away = false
    equal(await retain(await connectRaw(t, port), 'no', 'x'), false)
    sink.hold()
    const before = sink.taken.length
    const second = await connectRaw(t, port)
    second.publish('r/2', 1, 1, { retain: true })
    await until('it is taken', () => sink.taken.length === before + 1)
    equal(await retain(await connectRaw(t, port, 'd-1', { clientId: 'other' }), 'r/3', 'x'), false)
    sink.release()
    await until('the first is acknowledged', () => second.ids('puback').length === 1)
    deepEqual(await kept(t, port), ['r/2 p'])
  })

  test('that policies deny is denied by policies', async (t) => {
    const { port, sink, access, metrics } = await openBroker(t, { retainedPerPrincipal: 0 })
    access.denied.add('iot:RetainPublish r')
    sink.reply = () => ({ kind: 'refused', id: 'i', status: 403, reason: 'policy', message: 'no' })
    equal(await retain(await connectRaw(t, port), 'r', 'x'), false)
    deepEqual([sink.taken.length, metrics.total('sluice_messages_refused_total', { reason: 'retained' })], [1, 0])
  })

  test('over HTTP is answered 507, at every QoS: its 200 says that it is kept', async (t) => {
    const { broker, port, sink } = await openBroker(t, { retainedPerPrincipal: 1 })
    const accept = broker.behind('http', sink.accept)
    const post = (topic: string, payload: string, qos: 0 | 1): Promise<{ kind: string; status?: number }> =>
      accept(speaker('d-1'), { topic, payload: Buffer.from(payload), qos, retain: true })
    equal((await post('r/1', 'one', 0)).kind, 'accepted')
    for (const qos of [0, 1] as const) {
      const { kind, status } = await post('r/2', 'two', qos)
      deepEqual([kind, status], ['refused', 507])
    }
    deepEqual(await kept(t, port), ['r/1 one'])
    for (const [topic, payload] of [
      ['r/1', ''],
      ['r/2', 'two'],
    ] as const)
      equal((await post(topic, payload, 1)).kind, 'accepted')
    deepEqual(await kept(t, port), ['r/2 two'])
  })
})

describe('a last will that is to be retained', () => {
  test('has its room from CONNECT on, or the CONNECT is refused; a DISCONNECT gives it back', async (t) => {
    const { port } = await openBroker(t, { retainedPerPrincipal: 1 })
    const first = await connectRaw(t, port, 'd-1', { will: will('w/1') })
    equal(first.code, 0)
    equal((await connectRaw(t, port, 'd-1', { clientId: 'other', will: will('w/2') })).code, 3)
    equal((await connectRaw(t, port, 'd-2', { will: will('w/2') })).code, 0)
    equal((await connectRaw(t, port, 'd-1', { clientId: 'other', will: { ...will('w/2'), retain: false } })).code, 0)
    ok(await retain(first, 'w/1', 'online'), 'one topic, one place')
    first.send({ cmd: 'disconnect' })
    await until('the end', first.closed)
    deepEqual(await kept(t, port), ['w/1 online'])
    ok(await retain(await connectRaw(t, port, 'd-1'), 'w/1', ''))
    const second = await connectRaw(t, port, 'd-1', { will: will('w/3') })
    equal(second.code, 0)
    second.socket.destroy()
    await until('it is kept', async () => (await kept(t, port)).includes('w/3 gone'))
  })

  test('over a takeover goes out once, and leaves its room to the next', async (t) => {
    const { port, sink } = await openBroker(t, { retainedPerPrincipal: 1 })
    const first = await connectRaw(t, port, 'd-1', { will: will('w', 'first') })
    const second = await connectRaw(t, port, 'd-1', { will: will('w', 'second') })
    equal(second.code, 0)
    await until('the first is kept', async () => (await kept(t, port)).join() === 'w first')
    ok(first.closed())
    second.send({ cmd: 'disconnect' })
    await until('the end', second.closed)
    deepEqual(
      sink.taken.map(({ publish: { payload } }) => String(payload)),
      ['first'],
    )
  })

  test('that is denied when it is due gives its room back', async (t) => {
    const { port, sink } = await openBroker(t, { retainedPerPrincipal: 1 })
    sink.reply = ({ topic }) =>
      topic === 'w' ? { kind: 'refused', id: 'i', status: 403, reason: 'policy', message: 'no' } : undefined
    const first = await connectRaw(t, port, 'd-1', { will: will('w') })
    first.socket.destroy()
    await until('it is denied', () => sink.taken.length === 1)
    ok(await retain(await connectRaw(t, port), 'r', 'x'))
    deepEqual(await kept(t, port), ['r x'])
  })
})

test('the room of claims and messages is counted exactly, whatever the order', () => {
  const limits = { retained: 1_000, retainedBytes: 1e6, retainedPerPrincipal: 2, retainedBytesPerPrincipal: 1e6 }
  const store = new Retained(limits)
  const message = (topic: string): Publish => ({ topic, payload: Buffer.from('x'), qos: 1, retain: true })
  const [one, again, other, deletion] = [
    message('a'),
    message('a'),
    message('b'),
    { ...message('a'), payload: Buffer.alloc(0) },
  ]
  equal(store.claim('p', one), undefined)
  equal(store.claim('p', again), undefined, 'the same topic')
  store.keep(deletion)
  equal(store.claim('p', other), undefined)
  match(store.claim('p', message('c')) ?? '', /has 2 retained/)
  store.keep(one)
  store.release(again)
  store.release(again)
  match(store.claim('p', message('c')) ?? '', /has 2 retained/)
  equal(store.claim('q', message('a')), undefined)
  store.release(other)
  equal(store.claim('p', message('c')), undefined)
})

test('who looks for messages among many is told every hundred topics to let others have their turn', () => {
  const limits = { retained: 1_000, retainedBytes: 1e6, retainedPerPrincipal: 1_000, retainedBytesPerPrincipal: 1e6 }
  const store = new Retained(limits)
  for (let number = 0; number < 250; number += 1) {
    const publish: Publish = { topic: `a/${number}`, payload: Buffer.from('x'), qos: 1, retain: true }
    store.claim('p', publish)
    store.keep(publish)
  }
  const seen = (filter: string) => [...store.matching(filter)].map((found) => found?.message.topic)
  deepEqual(seen('b/+'), [undefined, undefined])
  deepEqual([seen('+/120'), seen('a/120')], [[undefined, 'a/120', undefined], ['a/120']])
  equal(seen('#').length, 252)
})
