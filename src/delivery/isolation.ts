import type { Entry, Envelope, Failure } from '../core/envelope.ts'
import type { Job } from '../core/queue.ts'
import { sumOfTallies, type Tally, tallyOf } from '../core/tally.ts'
import { crash } from './decide.ts'
import { failureOf } from './fates.ts'

/** How many processes may die holding an envelope before it is opened one message at a time. */
export const isolateAfter = 3

/** How many processes a message may end by being sent alone before it is given up. Once could be chance. */
export const crashesToGiveUp = 2

/** Whether an envelope is to be opened one message at a time. */
export function isSuspicious(job: Pick<Job<unknown>, 'deaths'>): boolean {
  return job.deaths >= isolateAfter
}

/** Where the lone sending of an envelope goes on, after what its last holder left. */
export interface Resumption {
  readonly envelope: Envelope
  /** The first entry to send; those before it have had their turn in this round. */
  readonly start: number
  /** How often the entry at `start` has ended a process. */
  readonly deaths: number
  /** The message that is given up. It is no longer in `envelope`. */
  readonly killer?: Failure
}

/**
 * Reads the mark that the last holder left. A mark means that it died while it sent that one message alone: the mark is
 * written before the sending and taken off after it, and nothing else is sent in that process meanwhile.
 */
export function resume(envelope: Envelope, worker: string, now: number): Resumption {
  const { suspect } = envelope
  const entry = suspect === undefined ? undefined : envelope.entries[suspect.index]
  if (suspect === undefined || entry === undefined)
    return { envelope: marked(envelope, envelope.entries, envelope.left), start: 0, deaths: 0 }
  const deaths = suspect.deaths + 1
  if (deaths < crashesToGiveUp) {
    const unmarked = marked(envelope, envelope.entries, envelope.left)
    return { envelope: unmarked, start: suspect.index, deaths }
  }
  const rest = envelope.entries.toSpliced(suspect.index, 1)
  const left = sumOfTallies(envelope.left ?? [], tallyOf([entry], 'given-up'))
  const killer = failureOf(worker, crash(entry, deaths, now), now)
  return { envelope: marked(envelope, rest, left), start: suspect.index, deaths: 0, killer }
}

/** The envelope with these entries and what became of the others, and a mark on the one that is about to be sent alone. */
export function marked(
  envelope: Envelope,
  entries: readonly Entry[],
  left: Tally = [],
  suspect?: Envelope['suspect'],
): Envelope {
  const { v, set, round } = envelope
  return {
    v,
    set,
    entries,
    ...(round !== undefined && { round }),
    ...(suspect !== undefined && { suspect }),
    ...(left.length > 0 && { left }),
  }
}
