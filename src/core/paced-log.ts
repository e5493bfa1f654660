import type { Facts, Log } from './log.ts'

/** Kinds that are told apart at once. */
const kinds = 1_000

type Write = (kind: string, facts: Facts | (() => Facts), message: string) => void

/**
 * A log for events whose rate a stranger decides. Writes a line, or counts it where its kind has had its share; the next line of
 * that kind says how many were left out. Facts behind a function are made for lines that are written.
 */
export interface PacedLog {
  readonly info: Write
  readonly warn: Write
  readonly error: Write
}

export interface PacedLogOptions {
  /** Lines of one kind per interval: a device that is refused a thousand times a second fills no disk. */
  readonly lines?: number
  readonly intervalMs?: number
  /** Milliseconds from anywhere; must not go back. */
  readonly now?: () => number
}

export function createPacedLog(
  log: Log,
  { lines = 5, intervalMs = 10_000, now = () => performance.now() }: PacedLogOptions = {},
): PacedLog {
  const seen = new Map<string, { since: number; lines: number; left: number }>()
  const write =
    (level: 'info' | 'warn' | 'error'): Write =>
    (kind, facts, message) => {
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
      if (state.lines >= lines) {
        state.left += 1
        return
      }
      state.lines += 1
      const own = typeof facts === 'function' ? facts() : facts
      log[level](state.left > 0 ? { ...own, leftOut: state.left } : own, message)
      state.left = 0
    }
  return { info: write('info'), warn: write('warn'), error: write('error') }
}
