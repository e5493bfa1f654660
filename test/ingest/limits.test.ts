import { deepEqual, equal, match, ok } from 'node:assert/strict'
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
  equal(limiter.take('large', 500), 2_001)
  now += 2_001
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

test('what comes in one request goes whole when no debt is left, and the rate holds over time', () => {
  let now = 0
  const limiter = new RateLimiter({ publishesPerSecond: 100, bytesPerSecond: 1_000_000 }, () => now)
  let taken = 0
  while (now < 40_000) {
    const told = limiter.take('shipper', 400, 400)
    if (told > 0) now += told
    else taken += 400
    if (told > 0) equal(limiter.take('shipper', 0, 0), 0)
  }
  // A hundred at once, a hundred a second, and the last request may be ahead of its time.
  ok(taken >= 4_000 && taken <= 100 + 4_000 + 400, String(taken))
})

test('small messages in between don’t keep a large request waiting beyond the time it was told', () => {
  let now = 0
  const limiter = new RateLimiter({ publishesPerSecond: 10, bytesPerSecond: 1_000 }, () => now)
  for (let count = 0; count < 10; count++) limiter.take('busy', 1)
  const told = limiter.take('busy', 10, 10)
  equal(told, 100)
  now += told
  equal(limiter.take('busy', 10, 10), 0)
  equal(limiter.take('busy', 1), 1_000)
})

test('what could never come in together is told so, with the limit', () => {
  const limiter = new RateLimiter({ publishesPerSecond: 2, bytesPerSecond: 10 }, () => 0)
  equal(limiter.complain(120, 600), undefined)
  match(
    limiter.complain(121, 1) ?? '',
    /^121 messages are more than the 120 .* at 2 a second \(limits\.publishesPerSecond\)$/,
  )
  match(limiter.complain(2, 601) ?? '', /^payloads of 601 bytes are more than the 600 .*limits\.bytesPerSecond/)
  equal(limiter.complain(1, 601), undefined)
})

test('a debt is not forgotten among ten thousand others', () => {
  let now = 0
  const limiter = new RateLimiter({ publishesPerSecond: 10, bytesPerSecond: 1_000 }, () => now)
  equal(limiter.take('shipper', 100, 100), 0)
  now += 2_000
  for (let count = 0; count < 10_001; count++) limiter.take(`d-${count}`, 1)
  equal(limiter.take('shipper', 1), 7_100)
})
