/** Choices that are the same for the same seed, so that a run which found something can be had again. */
export interface Random {
  /** From `least` up to, not including, `most`. */
  between(least: number, most: number): number
  pick<T>(list: readonly T[]): T
}

/** mulberry32: 32 bits of state are plenty for choosing faults. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const between = (least: number, most: number): number => Math.floor(least + next() * (most - least))
  return {
    between,
    pick(list) {
      const picked = list[between(0, list.length)]
      if (picked === undefined) throw new RangeError('there is nothing to pick from')
      return picked
    },
  }
}
