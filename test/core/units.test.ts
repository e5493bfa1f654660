import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import { bytes, duration, parseBytes, parseDuration } from '../../src/core/units.ts'

test('durations', () =>
  deepEqual(['500ms', '30s', '5m', '24h', '7d', '1.5s', '5', '', 's', '5 s', '5w'].map(parseDuration), [
    500,
    30_000,
    300_000,
    86_400_000,
    604_800_000,
    1_500,
    ...Array<undefined>(5),
  ]))
test('sizes', () =>
  deepEqual(['512B', '64KiB', '1MiB', '2GiB', '64KB', 'KiB'].map(parseBytes), [
    512,
    65_536,
    1_048_576,
    2_147_483_648,
    undefined,
    undefined,
  ]))
test('a schema says what to write instead', () => {
  equal(
    duration().safeParse('5 minutes').error?.issues[0]?.message,
    '"5 minutes" is not a duration; write 500ms, 30s, 5m, 24h or 7d',
  )
  equal(duration('30s').parse(undefined), 30_000)
  equal(bytes('1KiB').parse(undefined), 1024)
  equal(bytes().parse(77), 77)
})
