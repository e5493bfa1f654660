import { ExactNumber } from './exact-numbers.ts'
import { isFunction } from './jsonata.ts'

/**
 * Whether a value would take about more than so many characters as JSON. What is shared inside it counts each time it
 * occurs, as it would be written, so the answer comes after at most as many steps, whatever the value.
 */
export function exceeds(root: unknown, mostCharacters: number): boolean {
  if (typeof root !== 'object' || root === null) return typeof root === 'string' && root.length > mostCharacters
  let left = mostCharacters
  const open: unknown[] = [root]
  while (open.length > 0 && left >= 0) {
    const value = open.pop()
    left -= 1
    if (typeof value === 'string') left -= value.length
    else if (value instanceof ExactNumber) left -= value.text.length
    else if (Array.isArray(value)) for (const item of value) open.push(item)
    else if (typeof value === 'object' && value !== null && !isFunction(value)) {
      for (const [key, field] of Object.entries(value)) {
        left -= key.length
        open.push(field)
      }
    }
  }
  return left < 0
}
