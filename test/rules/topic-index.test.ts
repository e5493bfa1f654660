import { deepEqual, equal } from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { complainAboutTopicFilter, topicMatches } from '../../src/core/topic.ts'
import { TopicIndex } from '../../src/rules/topic-index.ts'

function indexOf(filters: readonly string[]): TopicIndex<string> {
  const index = new TopicIndex<string>()
  for (const filter of filters) index.add(filter, filter)
  return index
}

describe('topic index', () => {
  for (const [topic, expected] of [
    ['a', ['#', '+', 'a', 'a/#']],
    ['a/b', ['#', '+/b', '+/+', 'a/#', 'a/b']],
    ['/a', ['#', '+/+', '/a']],
    ['a/', ['#', '+/+', 'a/#']],
    ['$SYS/x', ['$SYS/#', '$SYS/+']],
    ['$SYS', ['$SYS/#']],
    ['__proto__/constructor', ['#', '+/+', '__proto__/constructor']],
    ['toString', ['#', '+']],
  ] as const) {
    test(`"${topic}" finds ${expected.join(' ')}`, () => {
      const filters = ['#', '+', 'a', 'a/#', '+/b', '+/+', 'a/b', '/a', '$SYS/#', '$SYS/+', '__proto__/constructor']
      deepEqual(indexOf(filters).match(topic).sort(), [...expected].sort())
    })
  }

  test('a value comes once for each of its filters', () => {
    const index = new TopicIndex<number>()
    for (const filter of ['a/+', '+/b', 'a/b']) index.add(filter, 7)
    deepEqual(index.match('a/b'), [7, 7, 7])
  })

  test('agrees with the text of MQTT 4.7', () => {
    const level = fc.constantFrom('', 'a', 'b', '$SYS', '$a', '__proto__', 'constructor', '0', 'é')
    const topic = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join('/'))
    const filterLevel = fc.oneof(level, fc.constant('+'), fc.constant('+'))
    const filter = fc
      .tuple(fc.array(filterLevel, { maxLength: 4 }), fc.boolean())
      .map(([levels, rest]) => (rest ? [...levels, '#'] : levels).join('/'))
      .filter((text) => complainAboutTopicFilter(text) === undefined)
    fc.assert(
      fc.property(fc.array(filter, { maxLength: 20 }), topic, (filters, name) => {
        const expected = filters.filter((each) => topicMatches(each, name))
        deepEqual(indexOf(filters).match(name).sort(), expected.sort())
      }),
      { numRuns: 2_000 },
    )
  })

  test('an empty index finds nothing', () => equal(new TopicIndex().match('a').length, 0))
})
