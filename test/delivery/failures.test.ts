import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { Entry, Failure, FailureBatch } from '../../src/core/envelope.ts'
import { SluiceError } from '../../src/core/errors.ts'
import type { Delivery, Message } from '../../src/core/message.ts'
import { endlessRoom } from '../../src/core/room.ts'
import type { RuleDefinition, RuleSet } from '../../src/core/rule.ts'
import { createFailureTaker, type FailureTakerOptions } from '../../src/delivery/failures.ts'
import { until } from '../support/cleanup.ts'
import { countingMetrics, entryOf, recordingLog } from '../support/delivery.ts'
import { createMemoryQueues, type MemoryQueues } from '../support/memory-queues.ts'

const failed = { owner: 'w', part: 'failures' } as const
const dead = { owner: 'w', part: 'dead' } as const

describe('failure taker', () => {
  it('makes a dead letter of a failure for which there is no error action, with bytes and errors', async (t) => {
    const failure = failureOf({ id: 'm', in: { base64: '/wA=' }, errors: [{ at: 1, reason: 'no' }] })
    const { queues, metrics } = await take(t, [failure])
    await taken(queues)
    const [letter] = queues.all<Failure>(dead)
    assert.deepEqual(letter?.data, failure)
    assert.match(letter?.id ?? '', /^d[0-9a-z]{16}$/)
    assert.equal(metrics.value('sluice_dead_letters_total', { owner: 'w', kind: 'rejected' }), 1)
  })

  it('hands a failure to the error actions of its rule, with the message as it came', async (t) => {
    const { queues, enqueued } = await take(t, [failureOf({ id: 'm', thing: 'd-1', at: 7 })], {
      rules: () => ruleSet(),
    })
    await taken(queues)
    assert.deepEqual(queues.all(dead), [])
    assert.equal(enqueued.length, 1)
    assert.equal(enqueued[0]?.set, 'hash')
    assert.deepEqual(
      enqueued[0]?.deliveries.map(({ worker, error }) => [worker, error]),
      [['trouble', true]],
    )
    assert.deepEqual(enqueued[0]?.message, {
      id: 'm',
      at: 7,
      topic: 'a/b',
      payload: Buffer.from('payload of m'),
      qos: 1,
      retain: false,
      principal: 'p',
      thing: 'd-1',
    })
  })

  it('makes a dead letter of an error action that failed: no further one runs', async (t) => {
    const { queues, enqueued } = await take(t, [failureOf({ id: 'm', error: true })], { rules: () => ruleSet() })
    await taken(queues)
    assert.equal(queues.all(dead).length, 1)
    assert.equal(enqueued.length, 0)
  })

  it('asks no rule that does not send to that worker: a worker could claim the failures of others', async (t) => {
    const rules = () => ruleSet({ worker: 'other' })
    const forged = { ...failureOf({ id: 'm' }), worker: 'other' }
    const { queues, enqueued } = await take(t, [forged], { rules })
    await taken(queues)
    assert.equal(enqueued.length, 0)
    assert.equal(queues.all<Failure>(dead)[0]?.data.worker, 'w', 'and its letters are its own')
  })

  it('makes a dead letter where the rule is gone, or its error actions cannot be made', async (t) => {
    const broken: RuleSet = { ...ruleSet(), errorActions: () => Promise.reject(new Error('template')) }
    const failures = [failureOf({ id: 'a', rule: 'gone' }), failureOf({ id: 'b' })]
    const { queues, log } = await take(t, failures, { rules: () => broken })
    await taken(queues)
    assert.equal(queues.all(dead).length, 2)
    assert.ok(log.lines.some(({ message }) => message.includes('could not be made')))
  })

  it('makes a dead letter where its error action has no room, and lets fall what may be', async (t) => {
    const full = { ...endlessRoom, complain: () => 'the backlog of worker trouble is full' }
    const { queues, enqueued } = await take(t, [failureOf({ id: 'm' })], { rules: () => ruleSet(), room: full })
    await taken(queues)
    assert.equal(enqueued.length, 0)
    assert.equal(queues.all(dead).length, 1)

    const dropped: unknown[] = []
    const newest = { ...endlessRoom, dropsNewest: (worker: string) => worker === 'trouble' }
    const options = { rules: () => ruleSet(), room: newest, onDropped: (one: unknown) => void dropped.push(one) }
    const other = await take(t, [failureOf({ id: 'n' })], options)
    await taken(other.queues)
    assert.equal(other.queues.all(dead).length, 0)
    assert.deepEqual(dropped, [{ owner: 'trouble', reason: 'full', entries: [{ rule: 'r', action: 1 }] }])
  })

  it('lets go of nothing while the queue is away, and hands nothing to error actions twice', async (t) => {
    const calls: string[] = []
    const { queues } = await take(
      t,
      [failureOf({ id: 'a' }), failureOf({ id: 'b', error: true }), failureOf({ id: 'c' })],
      {
        rules: () => ruleSet(),
        enqueue: async (message) => {
          calls.push(message.id)
          if (message.id === 'c' && calls.length < 4) throw new SluiceError('QUEUE_AWAY')
        },
      },
    )
    await taken(queues)
    assert.deepEqual(calls, ['a', 'c', 'c', 'c'])
    assert.deepEqual(
      queues.all<Failure>(dead).map(({ data }) => data.entry.id),
      ['b'],
    )
  })

  it('makes one letter of a failure that it takes twice, and two of two messages with one id', async (t) => {
    const one = failureOf({ id: 'same', at: 5 })
    const { queues } = await take(t, [
      one,
      one,
      { ...one, at: one.at + 9 },
      failureOf({ id: 'same', at: 5, in: 'other' }),
    ])
    await taken(queues)
    assert.equal(queues.all(dead).length, 2)
  })

  it('makes a letter of its own of what failed again after a replay', async (t) => {
    const one = failureOf({ id: 'm', at: 5 })
    const { queues } = await take(t, [one, { ...one, entry: { ...one.entry, since: 77 } }])
    await taken(queues)
    assert.equal(queues.all(dead).length, 2)
  })

  it('finds the failures of a worker that no file owns', async (t) => {
    const { queues } = await take(t, [failureOf({ id: 'm' })], { owners: () => [] })
    await taken(queues)
    assert.equal(queues.all(dead).length, 1)
  })

  it('leaves what it cannot read, and says so once', async (t) => {
    const queues = createMemoryQueues()
    await queues.add(failed, [{ id: 'x1', data: { v: 7, failures: [] } }])
    const { log } = await take(t, [{ v: 1 } as unknown as Failure, { v: 1 } as unknown as Failure], {}, queues)
    await until('both are put back', async () => (await queues.counts(failed)).delayed === 2)
    assert.equal(log.lines.length, 2)
    assert.equal(queues.all(failed).length, 2)
  })
})

function failureOf(entry: Partial<Entry> & Pick<Entry, 'id'>): Failure {
  return { v: 1, worker: 'w', kind: 'rejected', reason: 'no', at: 10, entry: entryOf(entry) }
}

/** Rules in which "r" sends to `worker` and has one error action. */
function ruleSet({ worker = 'w' } = {}): RuleSet {
  const position = { file: 'rules/r.yaml', line: 1, column: 1 }
  const rule: RuleDefinition = { name: 'r', position, from: ['#'], to: [{ worker }], onError: [], tests: [] }
  return {
    hash: 'hash',
    rules: [rule],
    evaluate: async () => [],
    unmatched: async () => undefined,
    errorActions: async () => [{ worker: 'trouble', rule: 'r', action: 1, error: true }],
  }
}

async function take(
  t: TestContext,
  failures: readonly Failure[],
  options: Partial<FailureTakerOptions> = {},
  queues: MemoryQueues = createMemoryQueues(),
) {
  const metrics = countingMetrics()
  const log = recordingLog()
  const enqueued: { message: Message; deliveries: readonly Delivery[]; set: string }[] = []
  const data: FailureBatch = { v: 1, failures }
  await queues.add(failed, [{ id: 'f1', data }])
  const taker = createFailureTaker({
    queues,
    owners: () => ['w'],
    rules: () => ({ ...ruleSet(), errorActions: async () => [] }),
    enqueue: async (message, deliveries, set) => void enqueued.push({ message, deliveries, set }),
    settings: { awayMs: 5 },
    ...options,
    metrics,
    log,
  })
  taker.start()
  t.after(async () => {
    await taker.close(100)
    await queues.close()
  })
  return { queues, metrics, log, enqueued }
}

async function taken(queues: MemoryQueues): Promise<void> {
  await until('the failures are taken', () => queues.all(failed).length === 0)
}
