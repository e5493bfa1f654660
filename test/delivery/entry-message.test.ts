import { deepEqual, equal, notEqual } from 'node:assert/strict'
import { test } from 'node:test'
import type { Failure } from '../../src/core/envelope.ts'
import type { Message } from '../../src/core/message.ts'
import { entryOfMessage, messageOf } from '../../src/delivery/entry-message.ts'
import { deadLetterId } from '../../src/delivery/ids.ts'
import { commonOf, entryOf } from '../../src/queue/envelope-codec.ts'

const message: Message = {
  id: 'm-1',
  publisherId: 'dev-1/17',
  at: 5,
  topic: 'num/a',
  rule: 'num',
  payload: Buffer.from('{}'),
  qos: 1,
  retain: false,
  principal: 'dev-1',
}

test('a message comes back from its entry as it was: its publisher’s id, and the one rule that it was for', () => {
  const queued = entryOf(commonOf(message), { worker: 'w', rule: 'num', action: 0 }, true).entry
  for (const entry of [entryOfMessage(message, 'num'), queued]) {
    const stored = JSON.parse(JSON.stringify(entry)) as typeof entry
    deepEqual(messageOf(stored), message)
  }
  const { rule: _rule, publisherId: _publisherId, ...plain } = message
  deepEqual(messageOf(entryOfMessage(plain, 'num')), plain)
})

test('two messages of one publisher never share a dead letter, though it calls both the same', () => {
  const failure = (parts: Partial<Message>): Failure => {
    const entry = entryOfMessage({ ...message, ...parts }, 'num')
    return { v: 1, kind: 'evaluation', reason: 'no', at: 1, entry }
  }
  notEqual(deadLetterId(failure({ id: 'm-1' })), deadLetterId(failure({ id: 'm-2' })))
  equal(deadLetterId(failure({})), deadLetterId(failure({})))
})
