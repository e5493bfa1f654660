import type { Facts, Log } from '../core/log.ts'

/** Lines of one kind that are written per interval; a device that is refused a thousand times a second fills no disk. */
const linesPerInterval = 5
const intervalMs = 10_000
/** Kinds that are told apart at once. */
const kinds = 1_000

export interface PacedLog {
  /** Writes the line, or counts it where its kind has had its share; the next line of that kind says how many were left out. */
  warn(kind: string, facts: Facts, message: string): void
}

/** A log for events whose rate a stranger decides. */
export function createPacedLog(log: Log, now: () => number = () => performance.now()): PacedLog {
  const seen = new Map<string, { since: number; lines: number; left: number }>()
  return {
    warn(kind, facts, message) {
      const time = now()
      let state = seen.get(kind)
      if (state === undefined) {
        if (seen.size >= kinds) seen.clear()
        state = { since: time, lines: 0, left: 0 }
        seen.set(kind, state)
      }
      if (time - state.since > intervalMs) {
        state.since = time
        state.lines = 0
      }
      if (state.lines >= linesPerInterval) {
        state.left += 1
        return
      }
      state.lines += 1
      log.warn(state.left > 0 ? { ...facts, leftOut: state.left } : facts, message)
      state.left = 0
    },
  }
}
