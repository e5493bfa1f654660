import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { translate } from '../../../src/ingest/bridge/translate.ts'
import type { ReceivedPublish } from '../../../src/mqtt/publish.ts'

const received: ReceivedPublish = {
  topic: 'devices/d-1/t',
  payload: Buffer.from('x'),
  qos: 1,
  retain: false,
  packetId: 7,
}
const withUser = (...userProperties: [string, string][]): ReceivedPublish => ({
  ...received,
  properties: { userProperties },
})
const property = { thing: { property: 'thing' } }

describe('what a bridged message becomes', () => {
  it('is the message as it came, without what belongs to the connection', () => {
    assert.deepEqual(translate(received, {}), {
      publish: { topic: 'devices/d-1/t', payload: Buffer.from('x'), qos: 1, retain: false },
    })
  })

  it('names the thing and the id that the rules of the bridge find', () => {
    const found = translate(received, {
      thing: ({ topic }) => topic.split('/')[1],
      id: ({ payload }) => `id-${payload.toString()}`,
    })
    assert.ok('publish' in found)
    assert.deepEqual([found.publish.thing, found.publish.id], ['d-1', 'id-x'])
  })

  it('takes the thing from a user property', () => {
    const found = translate(withUser(['other', 'a'], ['thing', 'd-2']), property)
    assert.ok('publish' in found && found.publish.thing === 'd-2')
  })

  const refused: readonly [
    what: string,
    received: ReceivedPublish,
    settings: Parameters<typeof translate>[1],
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
    ['the id fails', received, { id: () => assert.fail('broken') }, /id failed/],
  ]
  for (const [what, message, settings, because] of refused) {
    it(`is refused when ${what}`, () => {
      const found = translate(message, settings)
      assert.ok('refused' in found)
      assert.equal(found.refused, 'request')
      assert.match(found.because, because)
    })
  }

  it('is refused for its size when its payload was not kept', () => {
    const found = translate({ ...received, oversize: 300_000 }, property)
    assert.ok('refused' in found && found.refused === 'size')
  })

  it('is not confused by names that objects have', () => {
    const found = translate(withUser(['__proto__', 'd-1'], ['constructor', 'x']), { thing: { property: '__proto__' } })
    assert.ok('publish' in found && found.publish.thing === 'd-1')
    assert.ok('refused' in translate(received, { thing: { property: 'toString' } }))
  })
})
