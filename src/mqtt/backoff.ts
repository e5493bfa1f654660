/** How the waits between tries grow; milliseconds. */
export interface Backoff {
  readonly first: number
  readonly max: number
}

/** Never wait less, however the dice fall. */
const floorMs = 20

/**
 * Full jitter: anything between nothing and `first` doubled `round` times, at most `max` ("Exponential Backoff And
 * Jitter", AWS Architecture Blog), so that many clients of a broker that restarts don't come back in step.
 */
export function backoffMs({ first, max }: Backoff, round: number, random: () => number = Math.random): number {
  const ceiling = Math.min(max, first * 2 ** Math.min(round, 30))
  return Math.max(Math.min(floorMs, ceiling), Math.round(random() * ceiling))
}
