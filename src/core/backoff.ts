/** How the waits between tries grow; milliseconds. */
export interface Backoff {
  readonly first: number
  readonly max: number
}

/** Never wait less, however the dice fall: a try at once would hammer a far side that has just said no. */
const floorMs = 50

/**
 * Full jitter: anything between nothing and `first` doubled `round` times, at most `max` ("Exponential Backoff And
 * Jitter", AWS Architecture Blog). Spreading over the whole range keeps many workers from coming back together.
 */
export function backoffMs({ first, max }: Backoff, round: number, random: () => number = Math.random): number {
  // Beyond 2^50 of anything it is `max`; infinity times nothing would not be a number.
  const ceiling = Math.min(max, first * 2 ** Math.min(round, 50))
  return Math.round(Math.max(Math.min(floorMs, ceiling), random() * ceiling))
}
