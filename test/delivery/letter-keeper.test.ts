import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Failure } from '../../src/core/envelope.ts'
import { silent } from '../../src/core/log.ts'
import type { Message } from '../../src/core/message.ts'
import { messageOf } from '../../src/delivery/entry-message.ts'
import { deadLetterOfRefusal, deadLetterOfRuleFailure } from '../../src/delivery/ingest-letters.ts'
import { createLetterKeeper } from '../../src/delivery/letter-keeper.ts'
import { countingMetrics } from '../support/delivery.ts'
import { createMemoryQueues } from '../support/memory-queues.ts'

const message: Message = {
  id: 'm',
  at: 7,
  topic: 'a/b',
  payload: Buffer.from([0xff, 0, 0x41]),
  qos: 1,
  retain: true,
  principal: 'p',
  clientId: 'c',
  sourceIp: '127.0.0.1',
}

describe('dead letter of a rule that failed', () => {
  it('holds the message as it came, under the name of the rule', () => {
    const letter = deadLetterOfRuleFailure(message, 'hot', 'celsius is not a number')
    assert.equal(letter.owner, 'rule:hot')
    assert.equal(letter.data.kind, 'evaluation')
    assert.equal(letter.data.worker, undefined)
    assert.equal(letter.data.entry.rule, 'hot')
    assert.deepEqual(messageOf(letter.data.entry), message)
  })

  it('can be held by any queue, whatever a publisher wrote', async () => {
    const queues = createMemoryQueues()
    const properties = { contentType: 'a\0b', userProperties: [['k\ud800', 'v']] as const }
    const letter = deadLetterOfRuleFailure({ ...message, properties }, 'hot', 'bad \0 text')
    await queues.add({ owner: letter.owner, part: 'dead' }, [letter])
    const [stored] = queues.all<Failure>({ owner: 'rule:hot', part: 'dead' })
    assert.equal(stored?.data.entry.properties?.contentType, 'a\uFFFDb')
  })

  it('is a letter of its own each time', () => {
    const ids = Array.from({ length: 10 }, () => deadLetterOfRuleFailure(message, 'hot', 'no').id)
    assert.equal(new Set(ids).size, 10)
  })
})

describe('keeper of ingest’s dead letters', () => {
  it('keeps the newest letters of each rule, counts the rest as dropped, and lets no rule push out another', async () => {
    const queues = createMemoryQueues()
    const metrics = countingMetrics()
    const keeper = createLetterKeeper({ queues, max: 50, log: silent, metrics })
    await keeper.keep(deadLetterOfRuleFailure({ ...message, id: 'quiet' }, 'quiet', 'no'))
    const ids = Array.from({ length: 400 }, (_, index) => `m${index}`)
    await Promise.all(ids.map((id) => keeper.keep(deadLetterOfRuleFailure({ ...message, id }, 'loud', 'no'))))
    await keeper.keep(deadLetterOfRuleFailure({ ...message, id: 'last' }, 'loud', 'no'))
    const kept = () => queues.all<Failure>({ owner: 'rule:loud', part: 'dead' }).map(({ data }) => data.entry.id)
    await new Promise((resolve) => setImmediate(resolve))
    const [last, ...others] = kept().toReversed()
    assert.equal(last, 'last')
    assert.ok(others.length >= 44 && others.length <= 49, `${others.length} beside the last`)
    assert.deepEqual(others.toReversed(), ids.slice(-others.length))
    assert.equal(queues.all({ owner: 'rule:quiet', part: 'dead' }).length, 1)
    assert.equal(metrics.value('sluice_dead_letters_total', { owner: 'rule:loud', kind: 'evaluation' }), 401)
    assert.equal(metrics.value('sluice_dead_letters_dropped_total', { owner: 'rule:loud' }), 401 - kept().length)
  })

  it('rejects while the queue is away, and keeps again when it is back', async () => {
    const queues = createMemoryQueues()
    const keeper = createLetterKeeper({ queues, log: silent, metrics: countingMetrics() })
    queues.away = true
    const tries = [
      keeper.keep(deadLetterOfRuleFailure(message, 'hot', 'no')),
      keeper.keep(deadLetterOfRuleFailure(message, 'hot', 'no')),
    ]
    for (const one of await Promise.allSettled(tries)) assert.equal(one.status, 'rejected')
    queues.away = false
    await keeper.keep(deadLetterOfRuleFailure(message, 'hot', 'no'))
    assert.equal(queues.all({ owner: 'rule:hot', part: 'dead' }).length, 1)
  })

  const kept = (queues: ReturnType<typeof createMemoryQueues>, owner = 'bridge:plant') =>
    queues.all<Failure>({ owner, part: 'dead' }).map(({ data }) => data.entry)

  it('drops letters of the thing that has most: one device pushes out its own', async () => {
    const queues = createMemoryQueues()
    const metrics = countingMetrics()
    const keeper = createLetterKeeper({ queues, max: 100, log: silent, metrics })
    const refuse = (thing: string, id: string) =>
      keeper.keep(deadLetterOfRefusal('plant', { ...message, id, thing }, 'policy: no'))
    for (let n = 0; n < 20; n += 1) await refuse('quiet', `q${n}`)
    await Promise.all(Array.from({ length: 1_000 }, (_, n) => refuse('loud', `l${n}`)))
    await refuse('loud', 'last')
    await new Promise((resolve) => setImmediate(resolve))
    const left = kept(queues)
    assert.equal(left.filter(({ thing }) => thing === 'quiet').length, 20)
    assert.ok(left.length <= 100 && left.length >= 90, `${left.length} letters`)
    assert.equal(left.at(-1)?.id, 'last')
    const counted = metrics.value('sluice_dead_letters_total', { owner: 'bridge:plant', kind: 'refused' })
    const dropped = metrics.value('sluice_dead_letters_dropped_total', { owner: 'bridge:plant' })
    assert.equal(counted, 1_021)
    assert.equal(dropped, 1_021 - left.length)
  })

  it('is bounded in bytes, too', async () => {
    const queues = createMemoryQueues()
    const keeper = createLetterKeeper({ queues, maxBytes: 100_000, log: silent, metrics: countingMetrics() })
    const large = { ...message, payload: Buffer.alloc(10_000, 'x') }
    for (let n = 0; n < 30; n += 1)
      await keeper.keep(deadLetterOfRefusal('plant', { ...large, id: `m${n}`, thing: 'd' }, 'no'))
    await new Promise((resolve) => setImmediate(resolve))
    const left = kept(queues)
    assert.ok(left.length >= 7 && left.length <= 9, `${left.length} letters`)
    assert.equal(left.at(-1)?.id, 'm29')
  })

  it('bounds what an earlier process has left, with the first letter', async () => {
    const queues = createMemoryQueues()
    const parts = { queues, log: silent, metrics: countingMetrics() }
    const before = createLetterKeeper(parts)
    await Promise.all(
      Array.from({ length: 60 }, (_, n) =>
        before.keep(deadLetterOfRefusal('plant', { ...message, id: `m${n}` }, 'no')),
      ),
    )
    await createLetterKeeper({ ...parts, max: 20 }).keep(deadLetterOfRefusal('plant', message, 'no'))
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(kept(queues).length, 18)
  })
})

describe('dead letter of a message that a bridge refused', () => {
  it('holds it as it came, without its payload where that was too large to be kept', () => {
    const letter = deadLetterOfRefusal('plant', message, 'unknown-thing: no thing d-1 in identity/')
    assert.deepEqual([letter.owner, letter.data.kind, letter.data.entry.rule], ['bridge:plant', 'refused', ''])
    assert.equal(letter.data.reason, 'unknown-thing: no thing d-1 in identity/')
    assert.deepEqual(messageOf(letter.data.entry), message)
    assert.equal(deadLetterOfRefusal('plant', message, 'size', { payload: false }).data.entry.in, undefined)
  })
})
