import { type WatchedClock, watchClock } from '../../src/core/clock.ts'
import { silent } from '../../src/core/log.ts'
import type { Log } from '../../src/core/log.ts'
import type { Scope } from './cleanup.ts'

/** Moves the wall clock of this process, and with it all that goes by `Date.now`. */
export interface MovedClock {
  /** Watched, and looked at after each move. */
  readonly clock: WatchedClock
  /** Moves it, from where it is, and looks. */
  readonly move: (ms: number) => void
  /** Moves it without that anybody sees it. */
  readonly moveUnseen: (ms: number) => void
}

export function movedClock(scope: Scope, log: Log = silent): MovedClock {
  const real = Date.now
  let ahead = 0
  Date.now = () => real() + ahead
  const clock = watchClock({ log, wall: () => Date.now() })
  scope.after(() => {
    Date.now = real
    clock.close()
  })
  return {
    clock,
    move(ms) {
      ahead += ms
      clock.look()
    },
    moveUnseen: (ms) => void (ahead += ms),
  }
}
