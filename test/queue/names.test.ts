import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assert as holds, property, string } from 'fast-check'
import { bullNameOf, decodeId, decodeName, encodeId, encodeName } from '../../src/queue/names.ts'

test('a plain worker has plain names', () => {
  assert.deepEqual(bullNameOf({ owner: 'alerts', part: 'work' }), { name: 'alerts', prefix: '{sluice:alerts}' })
  assert.deepEqual(bullNameOf({ owner: 'alerts', part: 'failures' }), {
    name: 'alerts.failures',
    prefix: '{sluice:alerts}',
  })
  assert.equal(bullNameOf({ owner: 'rule:a.b', part: 'dead' }).name, 'rule%3Aa%2Eb.dead')
})

test('no owner can be named so that its queue is that of another', () => {
  assert.notEqual(
    bullNameOf({ owner: 'a.failures', part: 'work' }).name,
    bullNameOf({ owner: 'a', part: 'failures' }).name,
  )
  holds(
    property(
      string({ unit: 'grapheme' }),
      (text) => decodeName(encodeName(text)) === text && /^[\w%-]*$/.test(encodeName(text)),
    ),
  )
})

test('an id is BullMQ-proof and comes back as it was', () => {
  for (const id of ['0190f0c2-7a3e-7cc0-8000-1f2e3d4c5b6a', 'd0123abc', 'a_1']) assert.equal(encodeId(id), id)
  for (const id of ['wait', '12', 'a:b', '~a1', '', 'ü1', '0']) assert.ok(encodeId(id).startsWith('~'), id)
  holds(
    property(string({ unit: 'grapheme' }), (id) => decodeId(encodeId(id)) === id && /^[\w%~-]*$/.test(encodeId(id))),
  )
})

test('half a character names nothing', () => {
  assert.throws(() => encodeName('\ud800'), { code: 'WRONG_USE' })
})
