import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import { RateLimiter } from '../../src/ingest/limits.ts'

test('a principal may publish its second at once, then waits for the next token', () => {
  let now = 0
  const limiter = new RateLimiter({ publishesPerSecond: 10, bytesPerSecond: 1_000 }, () => now)
  deepEqual(
    Array.from({ length: 11 }, () => limiter.take('loud', 10)),
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100],
  )
  now += 100
  equal(limiter.take('loud', 10), 0)
  equal(limiter.take('loud', 10), 100)
})

test('bytes count on their own, and one large message leaves a debt', () => {
  let now = 0
  const limiter = new RateLimiter({ publishesPerSecond: 100, bytesPerSecond: 1_000 }, () => now)
  equal(limiter.take('large', 3_000), 0)
  equal(limiter.take('large', 500), 2_500)
  now += 2_500
  equal(limiter.take('large', 500), 0)
})

test('a loud principal spends nobody else’s tokens', () => {
  const limiter = new RateLimiter({ publishesPerSecond: 5, bytesPerSecond: 1_000 }, () => 0)
  for (let count = 0; count < 100; count++) limiter.take('loud', 1)
  equal(limiter.take('quiet', 1), 0)
  equal(limiter.take('__proto__', 1), 0)
})

test('under one publish a second, one goes at a time', () => {
  let now = 0
  const limiter = new RateLimiter({ publishesPerSecond: 0.5, bytesPerSecond: 1_000 }, () => now)
  equal(limiter.take('slow', 1), 0)
  equal(limiter.take('slow', 1), 2_000)
  now += 2_000
  equal(limiter.take('slow', 1), 0)
})
