import { type Entry, envelopeVersion, type Failure } from '../core/envelope.ts'
import type { Outcome } from '../core/outcome.ts'
import { type Tally, tallyOf } from '../core/tally.ts'
import type { DeliveryPolicy } from '../core/worker.ts'
import { decide, type Decision, expire, expiryOf, type GivenUp, isExpired, wishLeft, withoutWish } from './decide.ts'
import type { SeenTime } from './seen-time.ts'
import type { Scrub } from './text.ts'

/** The fates of the entries of one envelope while it is in hand: what has become of each. */
export interface Fates {
  /** Indexes of entries of which nothing is known yet. */
  untouched(): readonly number[]
  /** Those of them that may be sent now: the far side has not asked for a wait about them, or it is over. */
  due(): readonly number[]
  record(index: number, outcome: Outcome): Decision
  /** Gives up those that are too old. */
  expireOld(): void
  /** What a successor would have to do if this process died now: everything that is not delivered. */
  undelivered(): readonly Entry[]
  /** How many of those stand before an entry. */
  undeliveredBefore(index: number): number
  /** What is to be tried again: undelivered and not given up. */
  rest(): readonly Entry[]
  failures(): readonly Failure[]
  /** Those that are delivered, counted by rule. */
  delivered(): Tally
  /** Milliseconds until the first of the rest may be sent by what the far side asked for; 0 where it asked for nothing. */
  dueIn(): number
  /** When the first of the rest will be too old; infinity where there is none. Seen time. */
  nextExpiry(): number
}

export interface FatesContext {
  readonly worker: string
  readonly policy: DeliveryPolicy
  readonly time: SeenTime
  readonly scrub: Scrub
}

export function createFates(entries: readonly Entry[], { worker, policy, time, scrub }: FatesContext): Fates {
  const decisions: (Decision | undefined)[] = entries.map(() => undefined)
  /** When each was given up. */
  const givenUpAt = new Map<number, number>()

  return {
    untouched,
    due: () => untouched().filter((index) => wishLeft(entries[index] as Entry, time) === 0),
    record(index, outcome) {
      const entry = entries[index]
      if (entry === undefined) throw new RangeError(`the envelope has no entry ${index}`)
      return settle(index, decide(entry, outcome, policy, time, scrub))
    },
    expireOld() {
      for (const [index, entry] of entries.entries()) {
        if (decisions[index] === undefined && isExpired(entry, policy, time)) settle(index, expire(entry, policy))
      }
    },
    undelivered: () =>
      entries.flatMap((entry, index) => {
        const decision = decisions[index]
        if (decision?.kind === 'delivered') return []
        return [decision?.kind === 'again' ? decision.entry : entry]
      }),
    undeliveredBefore: (index) => decisions.slice(0, index).filter((decision) => decision?.kind !== 'delivered').length,
    rest,
    failures: () =>
      decisions.flatMap((decision, index): Failure[] => {
        if (decision?.kind !== 'failed') return []
        return [failureOf(worker, decision, givenUpAt.get(index) ?? time.wall())]
      }),
    delivered: () =>
      tallyOf(
        entries.filter((_, index) => decisions[index]?.kind === 'delivered'),
        'delivered',
      ),
    dueIn: () => Math.min(...rest().map((entry) => wishLeft(entry, time))),
    nextExpiry: () => Math.min(...rest().map((entry) => expiryOf(entry, policy, time))),
  }

  function untouched(): readonly number[] {
    return decisions.flatMap((decision, index) => (decision === undefined ? [index] : []))
  }

  function rest(): readonly Entry[] {
    return entries.flatMap((entry, index) => {
      const decision = decisions[index]
      if (decision === undefined) return [entry]
      return decision.kind === 'again' ? [decision.entry] : []
    })
  }

  function settle(index: number, decision: Decision): Decision {
    decisions[index] = decision
    if (decision.kind === 'failed') givenUpAt.set(index, time.wall())
    return decision
  }
}

/** What goes to the failures queue for a message that was given up. */
export function failureOf(worker: string, { failure, reason, entry }: GivenUp, at: number): Failure {
  return { v: envelopeVersion, worker, kind: failure, reason, at, entry: withoutWish(entry) }
}
