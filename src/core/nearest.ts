/** Words longer than this aren't compared: the work grows with the product of both lengths. */
const longest = 100

/** The candidate that `word` was probably meant to be, case aside, or undefined where none is close. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > longest) return undefined
  // A third of the letters may be wrong, but never more than three: beyond that a suggestion is a guess.
  let best = Math.min(3, Math.max(1, Math.floor(word.length / 3))) + 1
  let found: string | undefined
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) >= best) continue
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance >= best) continue
    best = distance
    found = candidate
  }
  return found
}

/**
 * `; did you mean "…"?` where something is close, else nothing: for the end of a sentence. `show` writes the word as its
 * language does.
 */
export function suggestion(word: string, candidates: Iterable<string>, show = (close: string) => `"${close}"`): string {
  const close = nearest(word, candidates)
  return close === undefined ? '' : `; did you mean ${show(close)}?`
}

/** Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment) that lead from one word to the other. */
function editDistance(from: string, to: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row++) {
    const current = [row]
    for (let column = 1; column <= to.length; column++) {
      const same = from[row - 1] === to[column - 1]
      const swapped = row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      current[column] = Math.min(
        at(last, column) + 1,
        at(current, column - 1) + 1,
        at(last, column - 1) + (same ? 0 : 1),
        swapped ? at(beforeLast, column - 2) + 1 : Infinity,
      )
    }
    beforeLast = last
    last = current
  }
  return at(last, to.length)
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Infinity
}
