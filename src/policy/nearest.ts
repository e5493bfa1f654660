import { show } from './values.ts'

/** `there is no variable "iot:clientId"; did you mean iot:ClientId?` */
export function complainUnknown(kind: string, name: string, known: readonly string[]): string {
  const nearest = nearestOf(name, known)
  return `there is no ${kind} ${show(name)}${nearest === undefined ? '' : `; did you mean ${nearest}?`}`
}

/** Names longer than this aren't compared: the work grows with the product of both lengths. */
const longest = 100

/** The known name that a mistyped one most likely means, case aside; undefined where none is near. */
export function nearestOf(name: string, known: readonly string[]): string | undefined {
  if (name.length > longest) return undefined
  const allowed = Math.max(1, Math.floor(name.length / 4))
  let best: { readonly name: string; readonly distance: number } | undefined
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (distance <= allowed && distance < (best?.distance ?? Infinity)) best = { name: candidate, distance }
  }
  return best?.name
}

/** Levenshtein's distance, one row at a time. */
function editDistance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index)
  for (let i = 1; i <= left.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= right.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (left[i - 1] === right[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[right.length] ?? 0
}
