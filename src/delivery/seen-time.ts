import type { Clock, Jump } from '../core/clock.ts'

/**
 * The time by which messages age and wait. It runs as the wall clock did when it was first looked at, by what was seen to pass: when
 * the wall clock is moved it goes on as if nothing had been. What others have stamped by the wall clock is found on it with `of`.
 */
export interface SeenTime {
  /** Milliseconds since 1970, for stamps that people read. May step. */
  wall(): number
  /** Milliseconds; never steps, but for what a start finds out about the time in which nobody was there. */
  now(): number
  /** Where on it a moment lies that a wall clock told; never after `now`. Where that can't be told for sure: the latest that it can be. */
  of(wall: number): number
}

/** From `wall` on the wall clock ran with the seen time, which was `seen` then; until the next one. */
interface Stretch {
  readonly wall: number
  readonly seen: number
}

/** What a start needs to know of the one before. JSON. */
export interface SeenTimeNote {
  readonly boot: string | null
  readonly passed: number
  readonly wall: number
  readonly seen: number
  readonly stretches: readonly Stretch[]
}

export interface KeptSeenTime extends SeenTime {
  /** For the next start; write it down now and then, and when `moved` is called. */
  note(): SeenTimeNote
  /** Takes over what the last start has noted; anything else than a note is none. Once, and before anything is judged by this. */
  adopt(note: unknown): void
  close(): void
}

/** Steps that are remembered; a clock that steps more often within the age of a message is broken. */
const mostStretches = 32

/** A wall clock that tells more since the last start of another machine (or another boot) is believed only after `settleMs` without a step. */
const believedMs = 600_000

/** A machine that has just been started has its clock put right within minutes. */
const settleMs = 600_000

/** Less than this is no step. */
const jumpMs = 1_000

export function createSeenTime(clock: Clock, moved: () => void = () => {}): KeptSeenTime {
  const began = { wall: clock.wall(), passed: clock.passed() }
  /** The first reaches back for ever. */
  let stretches: readonly Stretch[] = [{ wall: began.wall, seen: began.wall }]
  let base = { passed: began.passed, seen: began.wall }
  /** Milliseconds that may have passed before our start, and when they are believed. */
  let doubt: { readonly gap: number; readonly until: number } | undefined
  const stopListening = clock.onJump(jumped)

  return { wall: () => clock.wall(), now, of, note, adopt, close: stopListening }

  function now(): number {
    const passed = clock.passed()
    if (doubt !== undefined && passed >= doubt.until) believe(doubt.gap)
    return base.seen + Math.max(0, passed - base.passed)
  }

  function of(wall: number): number {
    const present = now()
    let end = present
    for (let index = stretches.length - 1; index >= 0; index -= 1) {
      const { wall: start, seen } = stretches[index] as Stretch
      const told = seen + (wall - start)
      if ((wall >= start || index === 0) && told <= end) return told
      end = seen
    }
    // In none: from a clock that is ahead, or from one that did not step with ours.
    const before = stretches.findLast((stretch) => stretch.wall <= wall)
    return before === undefined ? present : Math.min(present, before.seen + (wall - before.wall))
  }

  function jumped({ since, at, wall }: Jump): void {
    doubt = undefined
    // From the look before: what was stamped between that and now may be of either side, and is taken for the younger.
    const seen = base.seen + (since - base.passed)
    stretches = [...stretches, { wall: wall - (at - since), seen }].slice(-mostStretches)
    moved()
  }

  function note(): SeenTimeNote {
    return { boot: clock.boot ?? null, passed: clock.passed(), wall: clock.wall(), seen: now(), stretches }
  }

  function adopt(written: unknown): void {
    if (!isNote(written)) return
    const elapsed = elapsedSince(written)
    const seen = written.seen + elapsed
    const own = stretches.map((stretch) => ({ ...stretch, seen: stretch.seen + seen - began.wall }))
    base = { ...base, seen: base.seen + seen - began.wall }
    const runsOn = Math.abs(began.wall - written.wall - elapsed) < jumpMs
    stretches = [...written.stretches, ...(runsOn ? own.slice(1) : own)].slice(-mostStretches)
  }

  /** What has passed between a note and our start. */
  function elapsedSince({ boot, passed, wall }: SeenTimeNote): number {
    if (boot !== null && boot === clock.boot && began.passed >= passed) return began.passed - passed
    const gap = began.wall - wall
    if (gap <= believedMs) return Math.max(0, gap)
    doubt = { gap, until: began.passed + settleMs }
    return 0
  }

  /** The wall clock of this start has run right for long enough: what it told then has passed. */
  function believe(gap: number): void {
    doubt = undefined
    stretches = stretches.slice(0, -1)
    base = { ...base, seen: base.seen + gap }
  }
}

function isNote(data: unknown): data is SeenTimeNote {
  if (!isRecord(data)) return false
  const { boot, passed, wall, seen, stretches } = data
  if (boot !== null && typeof boot !== 'string') return false
  if (![passed, wall, seen].every(Number.isFinite)) return false
  if (!Array.isArray(stretches) || stretches.length === 0 || stretches.length > mostStretches) return false
  return stretches.every((one) => isRecord(one) && Number.isFinite(one['wall']) && Number.isFinite(one['seen']))
}

function isRecord(data: unknown): data is Record<string, unknown> {
  return typeof data === 'object' && data !== null
}
