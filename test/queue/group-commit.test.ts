import assert from 'node:assert/strict'
import { test } from 'node:test'
import { array, assert as holds, asyncProperty, integer, record, subarray } from 'fast-check'
import type { Envelope } from '../../src/core/envelope.ts'
import { QueueAwayError, SluiceError } from '../../src/core/errors.ts'
import type { Delivery, Message } from '../../src/core/message.ts'
import type { Queues } from '../../src/core/queue.ts'
import { fromWire } from '../../src/core/wire.ts'
import { createEnqueuer } from '../../src/queue/group-commit.ts'
import { until } from '../support/cleanup.ts'

interface Call {
  readonly owner: string
  readonly envelopes: readonly Envelope[]
  readonly ids: readonly string[]
  resolve(): void
  reject(error: unknown): void
}

/** Queues whose adds end when the test says so. */
function heldQueues() {
  const calls: Call[] = []
  const add: Queues['add'] = (queue, jobs) => {
    assert.equal(queue.part, 'work')
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const envelopes = jobs.map(({ data }) => data as Envelope)
    calls.push({ owner: queue.owner, envelopes, ids: jobs.map(({ id }) => id), resolve, reject })
    return promise
  }
  return { calls, add }
}

const message = (id: string, parts: Partial<Message> = {}): Message => ({
  id,
  at: 1,
  topic: 'a/b',
  payload: Buffer.from(`payload of ${id}`),
  qos: 1,
  retain: false,
  principal: 'p',
  ...parts,
})
const to = (worker: string, parts: Partial<Delivery> = {}): Delivery => ({ worker, rule: 'r', action: 0, ...parts })
const turn = () => new Promise((resolve) => setImmediate(resolve))
const sizes = (call: Call | undefined) => call?.envelopes.map(({ entries }) => entries.length)

test('a lone message goes at once; what comes while it is under way is the next envelope', async () => {
  const { calls, add } = heldQueues()
  const enqueuer = createEnqueuer({ add })
  const first = enqueuer.enqueue(message('m0'), [to('w')], 's')
  await turn()
  assert.deepEqual(calls.map(sizes), [[1]])
  const rest = Array.from({ length: 10 }, (_, index) => enqueuer.enqueue(message(`m${index + 1}`), [to('w')], 's'))
  await turn()
  assert.equal(calls.length, 1)
  calls[0]?.resolve()
  await first
  await turn()
  assert.deepEqual(calls.map(sizes), [[1], [10]])
  assert.equal(new Set(calls.flatMap(({ ids }) => ids)).size, 2)
  calls[1]?.resolve()
  await Promise.all(rest)
  await enqueuer.close()
})

test('at most two adds under way per queue, the second only when full, several full envelopes in one', async () => {
  const { calls, add } = heldQueues()
  const enqueuer = createEnqueuer({ add }, { messagesPerEnvelope: 4, envelopesPerAdd: 3 })
  const all = [enqueuer.enqueue(message('m0'), [to('w')], 's')]
  await turn()
  for (let index = 1; index <= 30; index += 1) all.push(enqueuer.enqueue(message(`m${index}`), [to('w')], 's'))
  await turn()
  assert.deepEqual(calls.map(sizes), [[1], [4, 4, 4]])
  calls[1]?.resolve()
  await turn()
  // The first is still under way: again a full one, and what isn't full waits.
  assert.deepEqual(calls.map(sizes), [[1], [4, 4, 4], [4, 4, 4]])
  calls[2]?.resolve()
  await turn()
  assert.deepEqual(calls.map(sizes).slice(3), [[4]])
  calls[0]?.resolve()
  calls[3]?.resolve()
  await turn()
  assert.deepEqual(calls.map(sizes).slice(4), [[2]])
  calls[4]?.resolve()
  await Promise.all(all)
  const order = calls.flatMap(({ envelopes }) => envelopes.flatMap(({ entries }) => entries.map(({ id }) => id)))
  assert.deepEqual(
    order,
    Array.from({ length: 31 }, (_, index) => `m${index}`),
  )
})

test('an envelope holds one rule set, and no more bytes than it may unless one message does', async () => {
  const { calls, add } = heldQueues()
  const enqueuer = createEnqueuer({ add }, { bytesPerEnvelope: 3_000, envelopesPerAdd: 100 })
  const payload = Buffer.alloc(1_000, 'x')
  const large = Buffer.alloc(10_000, 'x')
  const all = [
    enqueuer.enqueue(message('a', { payload }), [to('w')], 's1'),
    enqueuer.enqueue(message('b', { payload }), [to('w')], 's1'),
    enqueuer.enqueue(message('c', { payload }), [to('w')], 's1'),
    enqueuer.enqueue(message('d', { payload }), [to('w')], 's2'),
    enqueuer.enqueue(message('e', { payload: large }), [to('w')], 's2'),
    enqueuer.enqueue(message('f', { payload }), [to('w')], 's2'),
  ]
  await turn()
  const seen = calls[0]?.envelopes.map(({ v, set, entries }) => [v, set, entries.map(({ id }) => id).join('')])
  assert.deepEqual(seen, [
    [1, 's1', 'ab'],
    [1, 's1', 'c'],
    [1, 's2', 'd'],
    [1, 's2', 'e'],
    [1, 's2', 'f'],
  ])
  calls[0]?.resolve()
  await Promise.all(all)
})

test('a message is in when all its envelopes are; when one is not it is refused after all have ended, in doubt', async () => {
  const { calls, add } = heldQueues()
  const enqueuer = createEnqueuer({ add })
  let settled = false
  const message1 = enqueuer.enqueue(message('m1'), [to('w1'), to('w2')], 's').finally(() => (settled = true))
  await turn()
  calls[0]?.reject(new QueueAwayError('away', false))
  await turn()
  assert.equal(settled, false)
  calls[1]?.resolve()
  await assert.rejects(message1, { code: 'QUEUE_AWAY', inDoubt: true })
  assert.equal(enqueuer.inDoubt(), 1)

  const message2 = enqueuer.enqueue(message('m2'), [to('w1'), to('w2')], 's')
  await turn()
  calls[2]?.reject(new QueueAwayError('away', false))
  calls[3]?.reject(new SluiceError('QUEUE_UNSAFE'))
  await assert.rejects(message2, { code: 'QUEUE_AWAY', inDoubt: false })

  const message3 = enqueuer.enqueue(message('m3'), [to('w1')], 's')
  await turn()
  calls[4]?.reject(new TypeError('a defect'))
  await assert.rejects(message3, { code: 'QUEUE_AWAY', inDoubt: true })
  assert.equal(enqueuer.inDoubt(), 2)
  // What failed is not tried again.
  await turn()
  assert.equal(calls.length, 5)
})

test('what may wait is bounded, in bytes and in entries', async () => {
  const { calls, add } = heldQueues()
  const payload = Buffer.alloc(1_000, 'x')
  const byBytes = createEnqueuer({ add }, { waitingBytes: 3_000 })
  const both = [
    byBytes.enqueue(message('a', { payload }), [to('w')], 's'),
    byBytes.enqueue(message('b', { payload }), [to('w')], 's'),
  ]
  await assert.rejects(byBytes.enqueue(message('c', { payload }), [to('w')], 's'), {
    code: 'QUEUE_AWAY',
    inDoubt: false,
  })
  await turn()
  calls[0]?.resolve()
  await Promise.all(both)
  const next = byBytes.enqueue(message('d', { payload: Buffer.alloc(9_000) }), [to('w')], 's')
  const byEntries = createEnqueuer({ add }, { waitingEntries: 2 })
  const last = byEntries.enqueue(message('e'), [to('w'), to('v')], 's')
  await assert.rejects(byEntries.enqueue(message('f'), [to('w')], 's'), { code: 'QUEUE_AWAY', inDoubt: false })
  await until('all are under way', () => calls.length === 4)
  for (const call of calls) call.resolve()
  await Promise.all([next, last])
})

test('messages that come together find room for all of them, or none is in; more than the bound go when nothing waits', async () => {
  const { calls, add } = heldQueues()
  const enqueuer = createEnqueuer({ add }, { waitingEntries: 4 })
  const together = (...ids: string[]) => ids.map((id) => ({ message: message(id), deliveries: [to('w'), to('v')] }))
  const first = enqueuer.enqueueAll(together('a', 'b', 'c'), 's')
  assert.equal(first.length, 3)
  assert.throws(() => enqueuer.enqueueAll(together('d'), 's'), { code: 'QUEUE_AWAY', inDoubt: false })
  await turn()
  assert.deepEqual(calls.map(sizes), [[3], [3]])
  calls[0]?.resolve()
  calls[1]?.reject(new QueueAwayError('away', false))
  const settled = await Promise.allSettled(first)
  assert.ok(settled.every(({ status }) => status === 'rejected'))
  const second = enqueuer.enqueueAll([...together('d'), { message: message('e'), deliveries: [] }], 's')
  await until('both are under way', () => calls.length === 4)
  for (const call of calls) call.resolve()
  await Promise.all(second)
})

test('close lets what waits go in, and takes nothing more', async () => {
  const { calls, add } = heldQueues()
  const enqueuer = createEnqueuer({ add })
  const first = enqueuer.enqueue(message('m1'), [to('w')], 's')
  const closed = enqueuer.close()
  await assert.rejects(enqueuer.enqueue(message('m2'), [to('w')], 's'), { code: 'QUEUE_AWAY' })
  await until('it is under way', () => calls.length === 1)
  calls[0]?.resolve()
  await Promise.all([first, closed])
})

test('an entry says what the message and the action say', async () => {
  const { calls, add } = heldQueues()
  const enqueuer = createEnqueuer({ add }, { keepsOutput: (worker) => worker === 'lean' })
  const binary = Buffer.from([0xff, 0x00, 0x41])
  const whole = message('m1', {
    payload: binary,
    retain: true,
    thing: 't',
    clientId: 'c\ud800',
    sourceIp: '::1',
    properties: { contentType: 'x', userProperties: [['na\0me', 'va\ud800lue']] },
  })
  const options = JSON.parse('{"__proto__":"p\\u0000","key\\u0000":["a"]}') as Record<string, unknown>
  const entered = enqueuer.enqueue(
    whole,
    [
      to('plain', { action: 1 }),
      to('full', { out: Buffer.from('{"x":1}'), with: options }),
      to('lean', { out: Buffer.from('out'), error: true }),
      to('lean', { action: 5 }),
    ],
    's',
  )
  await turn()
  for (const call of calls) call.resolve()
  await entered
  const entries = Object.fromEntries(
    calls.map(({ owner, envelopes }) => [owner, envelopes.flatMap(({ entries }) => entries)]),
  )
  const common = {
    id: 'm1',
    at: 1,
    topic: 'a/b',
    qos: 1,
    retain: true,
    principal: 'p',
    thing: 't',
    clientId: 'c\ufffd',
    sourceIp: '::1',
    properties: { contentType: 'x', userProperties: [['na\ufffdme', 'va\ufffdlue']] },
    rule: 'r',
    attempts: 0,
  }
  const base64 = { base64: binary.toString('base64') }
  assert.deepEqual(entries['plain'], [{ ...common, action: 1, in: base64 }])
  assert.deepEqual(entries['lean'], [
    { ...common, action: 0, error: true, out: 'out' },
    { ...common, action: 5, in: base64 },
  ])
  const [full] = entries['full'] ?? []
  assert.equal(JSON.stringify(full?.with), '{"__proto__":"p\ufffd","key\ufffd":["a"]}')
  assert.deepEqual(full?.in, base64)
  assert.equal(full?.out, '{"x":1}')
  assert.deepEqual(fromWire(full?.in ?? ''), binary)
})

test('whatever comes when, every message goes once to each worker, in order, and is answered', async () => {
  const sent = array(
    record({
      workers: subarray(['u', 'v', 'w'], { minLength: 1 }),
      set: integer({ min: 0, max: 1 }),
      pause: integer({ min: 0, max: 2 }),
    }),
    {
      maxLength: 60,
    },
  )
  await holds(
    asyncProperty(sent, async (messages) => {
      const arrived = new Map<string, string[]>()
      let inFlight = 0
      const add: Queues['add'] = async ({ owner }, jobs) => {
        assert.ok((inFlight += 1) <= 6)
        for (const { data } of jobs) {
          const { set, entries } = data as Envelope
          assert.ok(entries.length > 0 && entries.length <= 3)
          for (const entry of entries) arrived.set(owner, [...(arrived.get(owner) ?? []), `${entry.id} ${set}`])
        }
        await turn()
        inFlight -= 1
      }
      const enqueuer = createEnqueuer({ add }, { messagesPerEnvelope: 3, envelopesPerAdd: 2 })
      const answers: Promise<void>[] = []
      for (const [index, { workers, set, pause }] of messages.entries()) {
        answers.push(
          enqueuer.enqueue(
            message(`m${index}`),
            workers.map((worker) => to(worker)),
            `s${set}`,
          ),
        )
        for (let count = 0; count < pause; count += 1) await turn()
      }
      await Promise.all([...answers, enqueuer.drain()])
      for (const worker of ['u', 'v', 'w']) {
        const wanted = messages.flatMap(({ workers, set }, index) =>
          workers.includes(worker) ? [`m${index} s${set}`] : [],
        )
        assert.deepEqual(arrived.get(worker) ?? [], wanted)
      }
    }),
    { numRuns: 60 },
  )
})
