import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Failure } from '../../src/core/envelope.ts'
import { silent } from '../../src/core/log.ts'
import type { Message } from '../../src/core/message.ts'
import { messageOf } from '../../src/delivery/entry-message.ts'
import { createRuleFailureKeeper, deadLetterOfRuleFailure } from '../../src/delivery/rule-failures.ts'
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

describe('rule failure keeper', () => {
  it('keeps the newest letters of each rule, counts the rest as dropped, and lets no rule push out another', async () => {
    const queues = createMemoryQueues()
    const metrics = countingMetrics()
    const keeper = createRuleFailureKeeper({ queues, max: 50, log: silent, metrics })
    await keeper.keep({ ...message, id: 'quiet' }, 'quiet', 'no')
    const ids = Array.from({ length: 400 }, (_, index) => `m${index}`)
    await Promise.all(ids.map((id) => keeper.keep({ ...message, id }, 'loud', 'no')))
    await keeper.keep({ ...message, id: 'last' }, 'loud', 'no')
    const kept = () => queues.all<Failure>({ owner: 'rule:loud', part: 'dead' }).map(({ data }) => data.entry.id)
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(kept(), [...ids.slice(-49), 'last'])
    assert.equal(queues.all({ owner: 'rule:quiet', part: 'dead' }).length, 1)
    assert.equal(metrics.value('sluice_dead_letters_total', { owner: 'rule:loud', kind: 'evaluation' }), 401)
    assert.equal(metrics.value('sluice_dead_letters_dropped_total', { owner: 'rule:loud' }), 351)
  })

  it('rejects while the queue is away, and keeps again when it is back', async () => {
    const queues = createMemoryQueues()
    const keeper = createRuleFailureKeeper({ queues, log: silent, metrics: countingMetrics() })
    queues.away = true
    const tries = [keeper.keep(message, 'hot', 'no'), keeper.keep(message, 'hot', 'no')]
    for (const one of await Promise.allSettled(tries)) assert.equal(one.status, 'rejected')
    queues.away = false
    await keeper.keep(message, 'hot', 'no')
    assert.equal(queues.all({ owner: 'rule:hot', part: 'dead' }).length, 1)
  })
})
