import { equal } from 'node:assert/strict'
import { test } from 'node:test'
import { parseInstant } from '../../src/policy/instant.ts'

test('reads ISO 8601 with a zone, days, and seconds since 1970', () => {
  equal(parseInstant('2026-01-31'), Date.UTC(2026, 0, 31))
  equal(parseInstant('2026-01-31T12:00Z'), Date.UTC(2026, 0, 31, 12))
  equal(parseInstant('2026-01-31T12:00:00.5+02:00'), Date.UTC(2026, 0, 31, 10, 0, 0, 500))
  equal(parseInstant('1700000000'), 1_700_000_000_000)
})

test('reads nothing else', () => {
  for (const text of [
    '',
    'now',
    '2026',
    '2026-02-30',
    '2026-13-01',
    '2026-01-31T12:00:00',
    '2026-01-31T25:00:00Z',
    '-5',
    '1e9',
    'Jan 1 2026',
  ]) {
    equal(parseInstant(text), undefined, text)
  }
})
