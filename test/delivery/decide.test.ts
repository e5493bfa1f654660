import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import type { Entry } from '../../src/core/envelope.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import { Redactor } from '../../src/core/redactor.ts'
import { decide, wishLeft } from '../../src/delivery/decide.ts'
import { maxReasonBytes } from '../../src/delivery/text.ts'
import { entryOf } from '../support/delivery.ts'

const policy = { attempts: 3, age: 1_000, backoff: { first: 1, max: 2 }, concurrency: 1 }
/** Time as it is where no clock was moved. */
const at = (ms: number) => ({ wall: () => ms, now: () => ms, of: (wall: number) => wall })
const plain = (text: string) => text
const entry = entryOf({ id: 'm', at: 0 })
const answered = { kind: 'retry', reason: 'busy', answered: true } as const
const unanswered: Outcome = { kind: 'retry', reason: 'connection refused', answered: false }

describe('decide', () => {
  it('lets go of what is delivered', () => {
    assert.deepEqual(decide(entry, { kind: 'delivered' }, policy, at(1), plain), { kind: 'delivered' })
  })

  it('spends an attempt for an answer, and none for a network failure or while blocked', () => {
    const after = (outcome: Outcome) => entryAfter(decide(entry, outcome, policy, at(1), plain))?.attempts
    assert.equal(after(answered), 1)
    assert.equal(after(unanswered), 0)
    assert.equal(after({ kind: 'blocked', reason: 'no such queue' }), 0)
  })

  it('gives up when the attempts are spent, with the last reason', () => {
    const decision = decide({ ...entry, attempts: 2 }, answered, policy, at(1), plain)
    assert.equal(decision.kind === 'failed' && decision.failure, 'exhausted')
    assert.equal(decision.kind === 'failed' && decision.reason, 'gave up after 3 attempts: busy')
    assert.equal(entryAfter(decision)?.attempts, 3)
  })

  it('gives up at once what is rejected', () => {
    const decision = decide(entry, { kind: 'rejected', reason: 'too large' }, policy, at(5), plain)
    assert.equal(decision.kind === 'failed' && decision.failure, 'rejected')
    assert.deepEqual(entryAfter(decision)?.errors, [{ at: 5, reason: 'too large' }])
  })

  it('gives up by age what never gets an answer, however often it was tried', () => {
    assert.equal(decide({ ...entry, attempts: 2 }, unanswered, policy, at(999), plain).kind, 'again')
    const decision = decide(entry, unanswered, policy, at(1_000), plain)
    assert.equal(decision.kind === 'failed' && decision.failure, 'expired')
    assert.match(
      decision.kind === 'failed' ? decision.reason : '',
      /^not delivered within 1s; the last error was: conn/,
    )
  })

  it('counts the age from a replay', () => {
    assert.equal(decide({ ...entry, since: 5_000 }, unanswered, policy, at(5_999), plain).kind, 'again')
    assert.equal(decide({ ...entry, since: 5_000 }, unanswered, policy, at(6_000), plain).kind, 'failed')
  })

  it('hands on how long the far side asked to wait', () => {
    const decision = decide(entry, { ...answered, afterMs: 7_000 }, policy, at(1), plain)
    const next = decision.kind === 'again' ? decision.entry : entry
    assert.deepEqual(next.wish, { at: 1, ms: 7_000 })
    assert.equal(wishLeft(next, at(1)), 7_000)
    assert.equal(wishLeft(next, at(7_000)), 1)
    assert.equal(wishLeft(next, at(7_001)), 0)
    assert.equal(wishLeft(next, at(0)), 0, 'a wish from the future is no reason to wait')
    const again = decide(next, answered, policy, at(2), plain)
    assert.ok(again.kind === 'again' && !('wish' in again.entry), 'a wish is for one wait')
  })

  it('takes secrets out of what it keeps, and keeps only what a queue can hold, at bounded length', () => {
    const redactor = new Redactor()
    redactor.add('hunter2-hunter2')
    const reason = `key hunter2-hunter2 \0 \ud800 ${'€'.repeat(2_000)}`
    const decision = decide(entry, { kind: 'rejected', reason }, policy, at(1), (text) => redactor.scrub(text))
    const kept = entryAfter(decision)?.errors?.[0]?.reason ?? ''
    assert.match(kept, /^key \[redacted\] \uFFFD \uFFFD €+…$/)
    assert.ok(Buffer.byteLength(kept) <= maxReasonBytes)
  })

  it('keeps a secret out even where the bound would cut it in two', () => {
    const reason = `${'x'.repeat(maxReasonBytes - 8)}hunter2-hunter2`
    const scrub = (text: string) => text.replaceAll('hunter2-hunter2', '[redacted]')
    const decision = decide(entry, { kind: 'rejected', reason }, policy, at(1), scrub)
    assert.ok(!JSON.stringify(decision).includes('hunter'))
  })

  it('keeps the first error and the last nine; hours of the same network failure count as one', () => {
    let now: Entry = { ...entry, at: 0 }
    const patient = { ...policy, attempts: 1_000, age: 1e9 }
    const step = (outcome: Outcome, ms: number) => {
      now = entryAfter(decide(now, outcome, patient, at(ms), plain)) ?? now
    }
    for (let count = 0; count < 20; count += 1) step({ ...answered, reason: `answer ${count}` }, count)
    const reasons = () => now.errors?.map((error) => error.reason)
    assert.deepEqual(reasons(), ['answer 0', ...Array.from({ length: 9 }, (_, index) => `answer ${index + 11}`)])
    for (let count = 0; count < 20; count += 1) step(unanswered, 100 + count)
    assert.deepEqual(now.errors?.at(-1), { at: 119, reason: 'connection refused' })
    assert.equal(reasons()?.at(-2), 'answer 19')
  })

  it('bounds the errors for any row of outcomes, and never decides "again" for ever', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyOutcome, fc.nat(200)), { minLength: 1 }), (steps) => {
        let now = entry
        let time = 0
        for (const [outcome, passed] of steps) {
          time += passed
          const decision = decide(now, outcome, policy, at(time), plain)
          if (decision.kind !== 'again') return
          assert.ok(decision.entry.attempts < policy.attempts && time < policy.age)
          assert.ok((decision.entry.errors?.length ?? 0) <= 10)
          now = decision.entry
        }
      }),
    )
  })
})

const anyOutcome: fc.Arbitrary<Outcome> = fc.oneof(
  fc.constant<Outcome>({ kind: 'delivered' }),
  fc.record({ kind: fc.constant('retry' as const), reason: fc.string(), answered: fc.boolean() }),
  fc.record({ kind: fc.constantFrom('rejected' as const, 'blocked' as const), reason: fc.string() }),
)

function entryAfter(decision: ReturnType<typeof decide>): Entry | undefined {
  return decision.kind === 'delivered' ? undefined : decision.entry
}
