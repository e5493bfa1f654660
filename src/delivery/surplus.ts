/** A letter, as far as it matters for which of them have to go. */
export interface Standing {
  readonly id: string
  /** Whose it is: a thing or a topic. */
  readonly source: string
  readonly bytes: number
}

interface Pile {
  readonly letters: Standing[]
  bytes: number
  /** Letters that have gone from the front. */
  gone: number
}

/**
 * Which of the letters (oldest first) go, so that the rest has room: always the oldest of the source that has most, by number where
 * they are too many, by bytes where they are too large. So a source with few keeps them, however much another has.
 */
export function surplusOf(
  letters: readonly Standing[],
  room: { readonly letters: number; readonly bytes: number },
): readonly string[] {
  const piles = new Map<string, Pile>()
  for (const letter of letters) {
    const pile = piles.get(letter.source)
    if (pile === undefined) piles.set(letter.source, { letters: [letter], bytes: letter.bytes, gone: 0 })
    else {
      pile.letters.push(letter)
      pile.bytes += letter.bytes
    }
  }
  let count = letters.length
  let bytes = letters.reduce((sum, letter) => sum + letter.bytes, 0)
  const gone: string[] = []
  const shrink = (isOver: () => boolean, sizeOf: (pile: Pile) => number): void => {
    while (isOver()) {
      const [first, second] = twoLargest(piles.values(), sizeOf)
      if (first === undefined) return
      // Down to the next largest at once: looking for the largest again for each letter would be a thousand times the work.
      const level = second === undefined ? 0 : sizeOf(second)
      do {
        const oldest = first.letters[first.gone]
        if (oldest === undefined) break
        first.gone += 1
        first.bytes -= oldest.bytes
        count -= 1
        bytes -= oldest.bytes
        gone.push(oldest.id)
      } while (isOver() && sizeOf(first) > level)
    }
  }
  shrink(
    () => count > room.letters,
    (pile) => pile.letters.length - pile.gone,
  )
  shrink(
    () => bytes > room.bytes && count > 0,
    (pile) => pile.bytes,
  )
  return gone
}

function twoLargest(
  piles: Iterable<Pile>,
  sizeOf: (pile: Pile) => number,
): readonly [first: Pile | undefined, second: Pile | undefined] {
  let first: Pile | undefined
  let second: Pile | undefined
  for (const pile of piles) {
    if (first === undefined || sizeOf(pile) > sizeOf(first)) [first, second] = [pile, first]
    else if (second === undefined || sizeOf(pile) > sizeOf(second)) second = pile
  }
  return [first, second]
}
