import { deepEqual, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { createDeadLetters } from '../../src/app/dead-letters.ts'
import type { Message } from '../../src/core/message.ts'
import { deadLetterOfRuleFailure } from '../../src/delivery/ingest-letters.ts'
import { endlessRoom } from '../../src/core/room.ts'
import { compileRules } from '../../src/rules/engine.ts'
import { createMemoryQueues } from '../support/memory-queues.ts'
import { rule } from '../support/rules.ts'

test('a rule’s letter that is replayed after days does not reach its worker expired', async () => {
  const queues = createMemoryQueues()
  const message: Message = {
    id: 'm',
    at: Date.now() - 10 * 86_400_000,
    topic: 'a/b',
    payload: Buffer.from('{}'),
    qos: 1,
    retain: false,
    principal: 'p',
  }
  const { owner, id, data } = deadLetterOfRuleFailure(message, 'r', 'no')
  await queues.add({ owner, part: 'dead' }, [{ id, data }])
  const enqueued: Message[] = []
  const deadLetters = createDeadLetters({
    queues,
    workers: () => ['w'],
    rules: () => compileRules([rule({ name: 'r', from: ['a/#'] })], { kindOf: () => undefined }),
    bridge: () => undefined,
    enqueue: async (sent) => void enqueued.push(sent),
    room: endlessRoom,
    onDropped() {},
  })
  const before = Date.now()
  deepEqual(await deadLetters.replay({ id }), { replayed: 1, kept: 0, missing: 0, more: false })
  ok((enqueued[0]?.at ?? 0) >= before)
})
