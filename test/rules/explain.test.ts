import { deepEqual } from 'node:assert/strict'
import { test } from 'node:test'
import { explain } from '../../src/rules/explain.ts'
import { rule } from '../support/rules.ts'

test('a rule is explained', () => {
  const explanation = explain(
    rule({
      name: 'hot',
      from: ['rooms/+/climate'],
      where: "celsius > 30 and status.code != 'test'",
      select: '{ "room": $topic(2), "c": celsius, "s": $sum(readings[ok].value), "x": $.a.b, "at": $timestamp() }\n',
      to: [{ worker: 'alerts', with: { group: '${ $topic(2) }', note: 'at ${ where } for ${ $clientId() }' } }],
      onError: [{ worker: 'trouble', on: ['delivery'] }],
    }),
  )
  deepEqual(explanation, {
    name: 'hot',
    topicFilters: ['rooms/+/climate'],
    where: {
      jsonata: "celsius > 30 and status.code != 'test'",
      evaluation: 'interpreted by jsonata',
      fields: ['celsius', 'status.code'],
      message: [],
    },
    select: {
      jsonata: '{ "room": $topic(2), "c": celsius, "s": $sum(readings[ok].value), "x": $.a.b, "at": $timestamp() }',
      evaluation: 'interpreted by jsonata',
      fields: ['celsius', 'readings.value', 'a.b'],
      message: ['$topic', '$timestamp'],
    },
    to: [
      {
        worker: 'alerts',
        action: 0,
        templates: [
          { path: 'group', jsonata: '$topic(2)', evaluation: 'direct', fields: [], message: ['$topic'] },
          { path: 'note', jsonata: 'where', evaluation: 'interpreted by jsonata', fields: ['where'], message: [] },
          { path: 'note', jsonata: '$clientId()', evaluation: 'direct', fields: [], message: ['$clientId'] },
        ],
      },
    ],
    onError: [{ worker: 'trouble', action: 1, on: ['delivery'], templates: [] }],
  })
})

test('a rule that passes everything through has little to explain', () => {
  deepEqual(explain(rule({ name: 'all' })), {
    name: 'all',
    topicFilters: ['#'],
    to: [{ worker: 'w', action: 0, templates: [] }],
    onError: [],
  })
})
