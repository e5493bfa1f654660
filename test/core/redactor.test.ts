import { equal } from 'node:assert/strict'
import { test } from 'node:test'
import { Redactor } from '../../src/core/redactor.ts'

const knowing = (...secrets: readonly string[]) => {
  const redactor = new Redactor()
  for (const secret of secrets) redactor.add(secret)
  return redactor
}

test('a secret is found in each form in which libraries quote it', () => {
  const secret = 'p@"ss\\ w/örd\nline two'
  const redactor = knowing(secret)
  for (const quoted of [secret, JSON.stringify({ error: secret }), encodeURIComponent(secret)])
    equal(/ss|rd|line/.test(redactor.scrub(quoted)), false, quoted)
  equal(knowing('a%40b%2Fcdef').scrub('it is a@b/cdef'), 'it is [redacted]')
  // Not everything with a % is encoded.
  equal(knowing('100%secret').scrub('100%secret'), '[redacted]')
})

test('of two secrets of which one begins with the other nothing is left', () => {
  equal(knowing('secret', 'secret-and-more').scrub('secret-and-more, secret'), '[redacted], [redacted]')
})

test('the password of an address is a secret by itself', () => {
  const redactor = knowing('rediss://ingest:hun%2Fter2@redis:6379')
  equal(
    redactor.scrub('WRONGPASS for ingest with hun/ter2 or hun%2Fter2 at redis:6379'),
    'WRONGPASS for ingest with [redacted] or [redacted] at redis:6379',
  )
  const several = knowing('redis+sentinel://ingest:hun%2Fter2@one:26379,two:26379/primary')
  equal(several.scrub('AUTH ingest hun/ter2 at two:26379'), 'AUTH ingest [redacted] at two:26379')
})

test('what is shorter than six characters is left, because it would shred ordinary text', () => {
  equal(knowing('level').scrub('{"level":"info"}'), '{"level":"info"}')
})
