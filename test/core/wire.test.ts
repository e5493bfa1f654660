import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fromWire, storable, toWire } from '../../src/core/wire.ts'

test('any bytes come back as they were, through JSON, without NUL and lone surrogates on the way', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 64 }),
        fc.string({ unit: 'binary', maxLength: 32 }).map((text) => Buffer.from(text)),
      ),
      (bytes) => {
        const job = JSON.stringify(toWire(bytes))
        equal(job.includes('\\u0000'), false)
        equal(job.isWellFormed(), true)
        deepEqual(Buffer.from(fromWire(JSON.parse(job) as never)), Buffer.from(bytes))
      },
    ),
    { numRuns: 2_000 },
  )
})

test('a byte order mark is part of the payload', () => {
  const bytes = Buffer.from([0xef, 0xbb, 0xbf, 0x61])
  deepEqual(fromWire(toWire(bytes)), bytes)
})

test('storable text has neither', () => equal(storable('a\0b\uD800c'), 'a\uFFFDb\uFFFDc'))
