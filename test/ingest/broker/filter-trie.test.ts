import { deepEqual } from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { topicMatches } from '../../../src/core/topic.ts'
import { FilterTrie } from '../../../src/ingest/broker/filter-trie.ts'

const level = fc.constantFrom('a', 'b', '', '$x', '__proto__', 'constructor')
const name = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, open]) => [...levels, ...(open ? ['#'] : [])].join('/'))

test('finds what the obvious way finds, through adding and deleting', () => {
  const steps = fc.array(fc.tuple(filter, fc.constantFrom('one', 'two'), fc.boolean()), { maxLength: 12 })
  fc.assert(
    fc.property(steps, name, (all, topic) => {
      const trie = new FilterTrie<string>()
      const there = new Map<string, [string, string]>()
      for (const [one, owner, adds] of all) {
        if (adds) there.set(`${owner} ${one}`, [one, owner])
        else there.delete(`${owner} ${one}`)
        if (adds) trie.set(one, owner, `${owner} ${one}`)
        else trie.delete(one, owner)
      }
      const expected = [...there].filter(([, [one]]) => topicMatches(one, topic)).map(([key]) => key)
      deepEqual(
        trie
          .match(topic)
          .map(([, value]) => value)
          .sort(),
        expected.sort(),
      )
    }),
    { numRuns: 1_000 },
  )
})
