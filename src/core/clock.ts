import { uptime } from 'node:os'
import type { Log } from './log.ts'

/** A step of the wall clock that was seen: between two looks it moved by other than what passed. */
export interface Jump {
  /** Milliseconds by which it is further ahead than what passed; negative: it went back. */
  readonly by: number
  /** The look before: what `passed` was then. The step was somewhere between that and `at`. */
  readonly since: number
  readonly at: number
  /** What the wall clock told at `at`. */
  readonly wall: number
}

/** The time as a machine tells it, and as it passes. */
export interface Clock {
  /** Milliseconds since 1970, as the machine says now. It may step in either direction. */
  wall(): number
  /** Milliseconds since the machine was started, asleep or not. Never steps. */
  passed(): number
  /** Which start of which machine `passed` counts from; undefined where that can't be told. */
  readonly boot: string | undefined
  /** Looks for a step now; also done every second. */
  look(): void
  /** Called for each step of a second or more; gives what ends it. */
  onJump(listener: (jump: Jump) => void): () => void
}

export interface WatchedClock extends Clock {
  close(): void
}

/** Smaller steps are those of a clock that is kept right, and do nothing to waits of seconds. */
const jumpMs = 1_000

const lookMs = 1_000

export interface ClockOptions {
  readonly log: Log
  readonly boot?: string | undefined
  readonly wall?: () => number
  /** Milliseconds that never step and go on while the machine sleeps; may be coarse. */
  readonly awake?: () => number
  /** Milliseconds that never step; fine. */
  readonly fine?: () => number
}

/**
 * The clock of this process, watched: what waits or ages by it hears of a step. The log says each, with its size, at most every ten
 * seconds.
 */
export function watchClock(options: ClockOptions): WatchedClock {
  const { log, boot, wall = Date.now, awake = () => uptime() * 1_000, fine = () => performance.now() } = options
  const listeners = new Set<(jump: Jump) => void>()
  let last = { wall: wall(), awake: awake(), fine: fine() }
  let quietUntil = -Infinity
  const timer = setInterval(look, lookMs)
  timer.unref()

  return { wall, passed, boot, look, onJump, close: () => clearInterval(timer) }

  function passed(): number {
    return last.awake + (fine() - last.fine)
  }

  function look(): void {
    const before = last
    const now = { wall: wall(), awake: awake(), fine: fine() }
    last = now
    const by = now.wall - before.wall - (now.awake - before.awake)
    if (Math.abs(by) < jumpMs) return
    say(by)
    for (const listener of listeners) listener({ by, since: before.awake, at: now.awake, wall: now.wall })
  }

  function say(by: number): void {
    if (last.fine < quietUntil) return
    quietUntil = last.fine + 10_000
    const [seconds, way] = [Math.round(Math.abs(by) / 1_000), by > 0 ? 'forward' : 'back']
    log.warn({ seconds, way }, 'the clock of this machine was moved; waits and ages count what has passed')
  }

  function onJump(listener: (jump: Jump) => void): () => void {
    listeners.add(listener)
    return () => listeners.delete(listener)
  }
}

/** A clock that nobody watches, for what lives shortly. */
export const unwatchedClock: Clock = {
  wall: Date.now,
  passed: () => performance.now(),
  boot: undefined,
  look() {},
  onJump: () => () => {},
}
