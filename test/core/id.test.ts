import { deepEqual, equal, match, notEqual } from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { deduplicationKey } from '../../src/core/envelope.ts'
import { newId, scopedId } from '../../src/core/id.ts'

describe('a publisher’s own id', () => {
  test('stands behind its principal, and the thing and client id that this one speaks for', () => {
    equal(scopedId({ name: 'dev-1' }, { id: '17' }), 'dev-1/17')
    equal(scopedId({ name: 'bridge:plant' }, { id: '17', thing: 'dev-1' }), 'bridge:plant@dev-1/17')
    equal(scopedId({ name: 'gw' }, { id: 'a/b', clientId: 'c 1' }), 'gw,c%00201/a/b')
  })

  test('is never another’s, whatever both are called', () => {
    const name = fc.oneof(fc.stringMatching(/^[ab:/@,%#]{1,4}$/), fc.string({ unit: 'binary', minLength: 1 }))
    const id = fc.stringMatching(/^[ab:/@,%#]{1,6}$/)
    const parts = fc.record({ name, id, thing: fc.option(name), clientId: fc.option(name) })
    const scoped = ({ name, id, thing, clientId }: typeof parts extends fc.Arbitrary<infer Parts> ? Parts : never) =>
      scopedId({ name }, { id, ...(thing !== null && { thing }), ...(clientId !== null && { clientId }) })
    fc.assert(
      fc.property(parts, parts, (one, other) => {
        if (scoped(one) !== scoped(other)) return
        deepEqual(one, other)
      }),
      { numRuns: 500 },
    )
    notEqual(scopedId({ name: 'a:b' }, { id: 'c' }), scopedId({ name: 'a' }, { id: 'b:c' }))
    notEqual(scopedId({ name: 'a/b' }, { id: 'c' }), scopedId({ name: 'a' }, { id: 'b/c' }))
  })

  test('is never an id of Sluice’s own, and stays short however long a thing’s name is', () => {
    match(newId(), /^[\da-f-]{36}$/)
    match(scopedId({ name: 'a' }, { id: newId() }), /\//)
    const long = (end: string) => scopedId({ name: 'bridge:b' }, { id: '1', thing: 'x'.repeat(60_000) + end })
    equal(long('a').length, 67)
    notEqual(long('a'), long('b'))
  })

  test('is the deduplication key’s beginning, and what was queued before there were such ids keeps its key', () => {
    equal(deduplicationKey({ id: 'uuid', publisherId: 'dev-1/17', rule: 'r', action: 0 }), 'dev-1/17:r:0')
    equal(deduplicationKey({ id: 'order-66', rule: 'r', action: 1 }), 'order-66:r:1')
  })
})
