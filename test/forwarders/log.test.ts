import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { AnyForwarderDefinition } from '../../src/core/forwarder.ts'
import { log } from '../../src/forwarders/log.ts'
import { forwarderConformance } from '../conformance/forwarder.ts'
import { itemOf, type ItemParts } from '../support/items.ts'
import { keepLines } from '../support/logs.ts'

forwarderConformance({
  definition: log,
  taking: async () => ({ settings: {}, arrived: ({ lines }) => lines.length }),
  blocked: {},
  secrets: [],
})

async function factsOf(parts: ItemParts, settings: object = {}) {
  const kept = keepLines()
  const signal = new AbortController().signal
  const definition: AnyForwarderDefinition = log
  const forwarder = await definition.open(log.settings.parse(settings), { worker: 'w', signal, log: kept })
  assert.deepEqual(await forwarder.send([itemOf(parts)], signal), [{ kind: 'delivered' }])
  assert.equal(kept.lines.length, 1)
  assert.equal(kept.lines[0]?.level, 'info')
  return kept.lines[0]?.facts
}

it('says what, from whom, and what is in it', async () => {
  assert.deepEqual(await factsOf({ thing: 'd-17' }), {
    id: 'm-1',
    rule: 'r',
    topic: 'buildings/b1/rooms/7/climate',
    principal: 'gateway',
    thing: 'd-17',
    bytes: 14,
    payload: '{"celsius":31}',
  })
})

it('shows the beginning of a long payload, and never half a character', async () => {
  const facts = await factsOf({ payload: 'é'.repeat(100) }, { preview: 7 })
  assert.deepEqual([facts?.['payload'], facts?.['cut'], facts?.['bytes']], ['ééé', true, 200])
  const whole = await factsOf({ payload: 'x'.repeat(3_000) })
  assert.equal(String(whole?.['payload']).length, 2_048)
})

it('shows what is not text as base64', async () => {
  const facts = await factsOf({ payload: Buffer.from([1, 255, 2]) })
  assert.deepEqual([facts?.['base64'], facts?.['payload']], ['Af8C', undefined])
})

it('shows nothing that a terminal obeys', async () => {
  const facts = await factsOf({ payload: 'a\u001b[2J\u009b\r\nb\u202ec', topic: 'a\u001b/b' })
  assert.equal(facts?.['payload'], 'a [2J   b c')
  assert.equal(facts?.['topic'], 'a /b')
})
