/**
 * How sure it is that something matches. Ordered, so that "and" is the smaller, "or" the larger, and "not" the distance
 * from `yes` (Kleene's logic).
 *
 * `unknown` is what a variable without a value, or a value that can't be read, makes of a match. It always counts against the
 * request: an Allow applies only on `yes`, a Deny on `unknown` as well.
 */
export type Certainty = 0 | 1 | 2

export const no: Certainty = 0
export const unknown: Certainty = 1
export const yes: Certainty = 2

export function not(certainty: Certainty): Certainty {
  return certainty === yes ? no : certainty === no ? yes : unknown
}

export function certain(holds: boolean): Certainty {
  return holds ? yes : no
}

/** The smallest answer: all must hold. `yes` for none. */
export function everyOf<Item>(items: readonly Item[], ask: (item: Item) => Certainty): Certainty {
  let smallest: Certainty = yes
  for (const item of items) {
    const answer = ask(item)
    if (answer === no) return no
    if (answer < smallest) smallest = answer
  }
  return smallest
}

/** The largest answer: one must hold. `no` for none. */
export function someOf<Item>(items: readonly Item[], ask: (item: Item) => Certainty): Certainty {
  let largest: Certainty = no
  for (const item of items) {
    const answer = ask(item)
    if (answer === yes) return yes
    if (answer > largest) largest = answer
  }
  return largest
}
