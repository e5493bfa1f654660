import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { elementsOf, membersOf } from '../../src/ingest/json-text.ts'

test('cuts without touching what it cuts', () => {
  const text = ' [ 1.0e+2 ,"a\\"]," , {"b":[1,{"c":"}"}] , "a" : 12345678901234567890 }, [] ,{},null,true]\n'
  deepEqual(elementsOf(text), [
    '1.0e+2',
    '"a\\"],"',
    '{"b":[1,{"c":"}"}] , "a" : 12345678901234567890 }',
    '[]',
    '{}',
    'null',
    'true',
  ])
  deepEqual(membersOf('{ "b" : [1,{"c":"}"}] , "\\u0061\\\\" :0.10 ,"b":{"x" : 1} }'), [
    ['b', '[1,{"c":"}"}]'],
    ['a\\', '0.10'],
    ['b', '{"x" : 1}'],
  ])
  deepEqual([elementsOf('[]'), membersOf(' { } ')], [[], []])
})

test('gives what JSON.parse sees, for any JSON', () => {
  const indent = fc.constantFrom(undefined, 1, '\t', '  ')
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), indent, (values, space) => {
      deepEqual(
        elementsOf(JSON.stringify(values, null, space)).map((element) => JSON.parse(element)),
        JSON.parse(JSON.stringify(values)),
      )
    }),
  )
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()), indent, (value, space) => {
      const text = JSON.stringify(value, null, space)
      deepEqual(
        membersOf(text).map(([name, member]) => [name, JSON.parse(member)]),
        Object.entries(JSON.parse(text)),
      )
    }),
  )
  const deep = '['.repeat(200_000) + ']'.repeat(200_000)
  equal(elementsOf(`[${deep}]`)[0]?.length, deep.length)
})
