import type { Principal } from '../core/access.ts'

/**
 * Whether a principal may say that a message is from this thing: always its own, otherwise what a pattern in `actsFor`
 * takes. The thing's own policies are a second question, and policy/ answers it.
 */
export function mayActFor(principal: Principal, thing: string): boolean {
  if (principal.thing === thing) return true
  return principal.actsFor?.some((pattern) => matchesPattern(pattern, thing)) ?? false
}

/**
 * `*` takes any run of characters, `?` exactly one (a whole code point); everything else stands for itself. Steps are at
 * most pattern × name: only the last `*` is ever gone back to, because whatever an earlier one could take, it can take.
 */
export function matchesPattern(pattern: string, name: string): boolean {
  if (pattern === '*') return true
  let at = 0
  let place = 0
  let star = -1
  let resume = 0
  while (at < name.length) {
    const wanted = pattern[place]
    if (wanted === '*') {
      star = place
      resume = at
      place += 1
    } else if (wanted === '?') {
      at += widthAt(name, at)
      place += 1
    } else if (wanted !== undefined && wanted === name[at]) {
      at += 1
      place += 1
    } else if (star >= 0) {
      resume += widthAt(name, resume)
      at = resume
      place = star + 1
    } else {
      return false
    }
  }
  while (pattern[place] === '*') place += 1
  return place === pattern.length
}

/** UTF-16 units of the code point that begins here. */
function widthAt(text: string, index: number): number {
  return (text.codePointAt(index) ?? 0) > 0xffff ? 2 : 1
}
