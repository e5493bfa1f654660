import type { Entry, EntryError, FailureKind } from '../core/envelope.ts'
import type { Outcome } from '../core/outcome.ts'
import type { DeliveryPolicy } from '../core/worker.ts'
import type { SeenTime } from './seen-time.ts'
import { formatDuration, reasonOf, type Scrub } from './text.ts'

/** What follows from an outcome, for one message. */
export type Decision =
  | { readonly kind: 'delivered' }
  /** Try it again, not before the entry's own wish. */
  | { readonly kind: 'again'; readonly entry: Entry }
  | GivenUp

export interface GivenUp {
  readonly kind: 'failed'
  readonly failure: FailureKind
  readonly reason: string
  readonly entry: Entry
}

/** Errors kept with a message: the first, which often tells the cause, and the last ones. */
const firstErrors = 1
const lastErrors = 9

/**
 * Decides what becomes of a message after an attempt. Pure. An answer of the far side spends an attempt; a network
 * failure, 429, 503 and `blocked` spend none and are bounded by the age of the message alone (DESIGN §3, "attempt").
 */
export function decide(entry: Entry, outcome: Outcome, policy: DeliveryPolicy, time: SeenTime, scrub: Scrub): Decision {
  if (outcome.kind === 'delivered') return { kind: 'delivered' }
  const answered = outcome.kind === 'rejected' || (outcome.kind === 'retry' && outcome.answered)
  const reason = reasonOf(outcome.reason, scrub)
  const next: Entry = {
    ...withoutWish(entry),
    attempts: entry.attempts + (answered ? 1 : 0),
    errors: withError(entry.errors ?? [], { at: time.wall(), reason }, answered),
  }
  if (outcome.kind === 'rejected') return { kind: 'failed', failure: 'rejected', reason, entry: next }
  if (answered && next.attempts >= policy.attempts) {
    return {
      kind: 'failed',
      failure: 'exhausted',
      reason: `gave up after ${next.attempts} attempts: ${reason}`,
      entry: next,
    }
  }
  if (isExpired(next, policy, time)) return expire(next, policy)
  const ms = outcome.kind === 'retry' ? (outcome.afterMs ?? 0) : 0
  return { kind: 'again', entry: ms > 0 ? { ...next, wish: { at: time.now(), ms } } : next }
}

/** Milliseconds until a message may be sent again by what the far side asked for about it. A wish from the future is none: clocks err. */
export function wishLeft({ wish }: Entry, time: SeenTime): number {
  if (wish === undefined) return 0
  const passed = time.now() - wish.at
  return passed >= 0 && passed < wish.ms ? wish.ms - passed : 0
}

/** An entry whose wish has been heard, or means nothing any more. */
export function withoutWish(entry: Entry): Entry {
  const { wish, ...others } = entry
  return wish === undefined ? entry : others
}

/** Whether a message is too old to be tried. */
export function isExpired(entry: Entry, policy: DeliveryPolicy, time: SeenTime): boolean {
  return time.now() >= expiryOf(entry, policy, time)
}

/** When a message is given up for its age, in seen time; a replay starts the count anew. */
export function expiryOf(entry: Entry, policy: DeliveryPolicy, time: SeenTime): number {
  return time.of(entry.since ?? entry.at) + policy.age
}

/** Gives up a message for its age. */
export function expire(entry: Entry, policy: DeliveryPolicy): GivenUp {
  const last = entry.errors?.at(-1)?.reason
  const said = last === undefined ? '' : `; the last error was: ${last}`
  return {
    kind: 'failed',
    failure: 'expired',
    reason: `not delivered within ${formatDuration(policy.age)}${said}`,
    entry,
  }
}

/** Gives up a message that ended the process each time it was sent alone. */
export function crash(entry: Entry, deaths: number, now: number): GivenUp {
  const error = { at: now, reason: `the process ended ${deaths} times while this message alone was being sent` }
  const errors = withError(entry.errors ?? [], error, true)
  return { kind: 'failed', failure: 'crashed', reason: 'crashed the worker', entry: { ...entry, errors } }
}

/**
 * Adds an error. An unanswered try that fails as the one before only moves its time: hours of `connection refused` must
 * not push out what the far side once answered.
 */
function withError(errors: readonly EntryError[], error: EntryError, answered: boolean): readonly EntryError[] {
  const repeats = !answered && errors.at(-1)?.reason === error.reason
  const all = [...(repeats ? errors.slice(0, -1) : errors), error]
  if (all.length <= firstErrors + lastErrors) return all
  return [...all.slice(0, firstErrors), ...all.slice(-lastErrors)]
}
