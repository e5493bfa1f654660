import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import { z } from 'zod'
import { cutBatches, prepareItems } from '../../src/delivery/batches.ts'
import { entryOf } from '../support/delivery.ts'

const open = z.strictObject({})

describe('prepareItems', () => {
  it('makes an item of an entry: what select made, or the payload as it came', () => {
    const entries = [
      entryOf({ id: 'a', in: { base64: '/wA=' }, thing: 't', clientId: 'c', retain: true, at: 7 }),
      entryOf({ id: 'b', in: 'original', out: '{"n":1}', action: 2, rule: 'hot' }),
      entryOf({ id: 'never' }),
    ]
    const { items } = prepareItems(entries, [0, 1], {}, open)
    assert.deepEqual(items[0], {
      index: 0,
      item: {
        id: 'a',
        key: 'a:r:0',
        payload: Buffer.from([0xff, 0]),
        selected: false,
        topic: 'a/b',
        qos: 1,
        retain: true,
        rule: 'r',
        principal: 'p',
        thing: 't',
        clientId: 'c',
        at: 7,
        with: {},
      },
    })
    assert.equal(items[1]?.item.payload.toString(), '{"n":1}')
    assert.equal(items[1]?.item.selected, true)
    assert.equal(items[1]?.item.key, 'b:hot:2')
    assert.equal(items.length, 2)
  })

  it("puts the worker's defaults under the options of the action", () => {
    const schema = z.strictObject({ group: z.string(), label: z.string().default('none') })
    const entries = [entryOf({ id: 'a' }), entryOf({ id: 'b', with: { group: 'own' } })]
    const { items } = prepareItems(entries, [0, 1], { group: 'default' }, schema)
    assert.deepEqual(
      items.map(({ item }) => item.with),
      [
        { group: 'default', label: 'none' },
        { group: 'own', label: 'none' },
      ],
    )
  })

  it('says which option the forwarder does not take, and does not let one entry spoil another', () => {
    const schema = z.strictObject({ group: z.string().max(3) })
    const entries = [
      entryOf({ id: 'a', with: { group: 'long name' } }),
      entryOf({ id: 'b', with: { group: 'ok' } }),
      entryOf({ id: 'c', with: JSON.parse('{"group":"ok","__proto__":{"x":1}}') }),
    ]
    const { items, unfit } = prepareItems(entries, [0, 1, 2], {}, schema)
    assert.match(unfit[0]?.reason ?? '', /^with\.group: /)
    assert.deepEqual(items.find(({ index }) => index === 1)?.item.with, { group: 'ok' })
    assert.equal(({} as { x?: number }).x, undefined)
  })
})

describe('cutBatches', () => {
  it('keeps to both limits, keeps the order and loses nothing', () => {
    const sizes = fc.array(fc.nat(50), { maxLength: 60 })
    fc.assert(
      fc.property(
        sizes,
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 120 }),
        (sizes, messages, bytes) => {
          const entries = sizes.map((size, index) => entryOf({ id: String(index), in: 'x'.repeat(size) }))
          const { items } = prepareItems(entries, [...entries.keys()], {}, open)
          const batches = cutBatches(items, { messages, bytes })
          assert.deepEqual(batches.flat(), items)
          for (const batch of batches) {
            const total = batch.reduce((sum, { item }) => sum + item.payload.length, 0)
            assert.ok(batch.length >= 1 && batch.length <= messages)
            assert.ok(total <= bytes || batch.length === 1)
          }
        },
      ),
    )
  })

  it('sends an item over the byte limit alone', () => {
    const entries = ['a', 'b', 'c'].map((id) => entryOf({ id, in: 'x'.repeat(id === 'b' ? 100 : 1) }))
    const { items } = prepareItems(entries, [0, 1, 2], {}, open)
    const batches = cutBatches(items, { messages: 10, bytes: 10 })
    assert.deepEqual(
      batches.map((batch) => batch.map(({ item }) => item.id)),
      [['a'], ['b'], ['c']],
    )
  })
})
