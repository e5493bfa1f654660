import assert from 'node:assert/strict'
import { it } from 'node:test'
import * as fc from 'fast-check'
import { type SqsItem, sqsBytes, sqsEntry, sqsWith } from '../../src/forwarders/sqs-entry.ts'
import { itemOf, type ItemParts } from '../support/items.ts'

function itemWith(options: object, parts: ItemParts<SqsItem['with']> = {}): SqsItem {
  return itemOf<SqsItem['with']>({ ...parts, with: sqsWith.parse(options) })
}

it('takes every character that XML 1.0 has, those beyond U+FFFF too', () => {
  const payload = '\t\n\r \ud7ff\ue000\ufffd🌡'
  const made = sqsEntry(itemWith({}, { payload }), false)
  assert.ok('entry' in made)
  assert.equal(made.entry.MessageBody, payload)
})

it('names the character that SQS does not take, and the way out', () => {
  assert.deepEqual(sqsEntry(itemWith({}, { payload: 'a\u000bb' }), false), {
    refused: 'the payload holds U+000B, which SQS does not take; set useBase64: true to send such payloads',
  })
})

it('counts what SQS counts: body, and name, type and value of attributes', () => {
  const made = sqsEntry(itemWith({ attributes: { ab: 'é', n: 12 } }, { payload: 'é' }), false)
  const expected = 2 + ('ab'.length + 'String'.length + 2) + ('n'.length + 'Number'.length + '12'.length)
  assert.equal('bytes' in made && made.bytes, expected)
})

it('refuses a message that its attributes or base64 make too large', () => {
  const payload = Buffer.alloc(sqsBytes - 10, 'x')
  assert.ok('entry' in sqsEntry(itemWith({}, { payload }), false))
  assert.ok('refused' in sqsEntry(itemWith({ attributes: { name: 'value' } }, { payload }), false))
  assert.ok('refused' in sqsEntry(itemWith({ useBase64: true }, { payload }), false))
})

it('makes a valid entry of any payload and any key, or refuses it with a reason', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 200 }),
      fc.boolean(),
      fc.boolean(),
      (bytes, key, group, useBase64, fifo) => {
        const item = itemWith({ useBase64, messageGroupId: group }, { payload: Buffer.from(bytes), key })
        const made = sqsEntry(item, fifo)
        if ('refused' in made) return assert.ok(made.refused.length > 0)
        const { MessageBody, MessageGroupId, MessageDeduplicationId } = made.entry
        const back = Buffer.from(String(MessageBody), useBase64 ? 'base64' : 'utf8')
        assert.deepEqual(back, Buffer.from(bytes))
        assert.match(String(MessageGroupId), /^[\x21-\x7e]{1,128}$/)
        if (fifo) assert.match(String(MessageDeduplicationId), /^[\x21-\x7e]{1,128}$/)
        else assert.equal(MessageDeduplicationId, undefined)
        assert.ok(made.bytes <= sqsBytes)
      },
    ),
  )
})
