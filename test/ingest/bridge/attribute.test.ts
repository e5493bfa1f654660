import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Publish } from '../../../src/core/access.ts'
import { attribute } from '../../../src/ingest/bridge/attribute.ts'

const received: Publish = {
  topic: 'devices/d-1/t',
  payload: Buffer.from('x'),
  qos: 1,
  retain: false,
}
const withUser = (...userProperties: [string, string][]): Publish => ({
  ...received,
  properties: { userProperties },
})
const property = { thing: { property: 'thing' } }

describe('what a bridged message becomes', () => {
  it('is the message as it came', () => {
    assert.deepEqual(attribute(received, {}), {
      publish: { topic: 'devices/d-1/t', payload: Buffer.from('x'), qos: 1, retain: false },
    })
  })

  it('names the thing and the id that the templates of the bridge find', async () => {
    const found = await attribute(received, {
      thing: ({ topic }) => topic.split('/')[1],
      id: ({ payload }) => `id-${payload.toString()}`,
    })
    assert.ok('publish' in found)
    assert.deepEqual([found.publish.thing, found.publish.id], ['d-1', 'id-x'])
  })

  it('takes the thing from a user property', async () => {
    const found = await attribute(withUser(['other', 'a'], ['thing', 'd-2']), property)
    assert.ok('publish' in found && found.publish.thing === 'd-2')
  })

  const refused: readonly [
    what: string,
    received: Publish,
    settings: Parameters<typeof attribute>[1],
    because: RegExp,
  ][] = [
    ['the property occurs more than once', withUser(['thing', 'd-1'], ['thing', 'd-2']), property, /more than once/],
    ['it occurs twice with the same value', withUser(['thing', 'd-1'], ['thing', 'd-1']), property, /more than once/],
    ['it occurs twice, first empty', withUser(['thing', ''], ['thing', 'd-2']), property, /more than once/],
    ['there is no such property', received, property, /no user property/],
    ['its value is empty', withUser(['thing', '']), property, /no user property/],
    ['nothing says who it is from', received, { thing: () => undefined }, /which thing/],
    ['what says so is empty', received, { thing: () => '' }, /which thing/],
    ['what should say so fails', received, { thing: () => assert.fail('broken') }, /broken/],
    ['what should say so fails later', received, { thing: async () => assert.fail('broken') }, /broken/],
    ['what should say so says nothing later', received, { thing: async () => undefined }, /which thing/],
  ]
  for (const [what, message, settings, because] of refused) {
    it(`is nobody's when ${what}`, async () => {
      const found = await attribute(message, settings)
      assert.ok('because' in found)
      assert.match(found.because, because)
    })
  }

  const ids: readonly [what: string, make: () => string | undefined | Promise<string>, id: RegExp | undefined][] = [
    ['it is none: a space', () => 'a b', /^#[0-9a-f]{64}$/],
    ['it is too long', () => 'x'.repeat(129), /^#[0-9a-f]{64}$/],
    ['it is not ASCII', () => 'ü', /^#[0-9a-f]{64}$/],
    ['it is empty', () => '', undefined],
    ['there is none', () => undefined, undefined],
    ['it fails', () => assert.fail('broken'), undefined],
    ['it fails later', async () => assert.fail('broken'), undefined],
    ['it is one', () => 'order-7', /^order-7$/],
  ]
  for (const [what, id, wanted] of ids) {
    it(`is not refused for its id: ${what}`, async () => {
      const [found, again] = [await attribute(received, { id }), await attribute(received, { id })]
      assert.ok('publish' in found && 'publish' in again)
      if (wanted === undefined) assert.equal(found.publish.id, undefined)
      else assert.match(found.publish.id ?? '', wanted)
      assert.equal(again.publish.id, found.publish.id, 'the same text is the same id')
    })
  }

  it('is not confused by names that objects have', async () => {
    const found = await attribute(withUser(['__proto__', 'd-1'], ['constructor', 'x']), {
      thing: { property: '__proto__' },
    })
    assert.ok('publish' in found && found.publish.thing === 'd-1')
    assert.ok('because' in (await attribute(received, { thing: { property: 'toString' } })))
  })
})
