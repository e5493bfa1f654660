/** The way to a value inside a document: keys and indexes. */
export type Path = readonly (string | number)[]

/** `to.0.worker`: how problems name a path. */
export function dotted(path: Path): string {
  return path.join('.')
}

/** A path as one string that no other path has. */
export function pathKey(path: Path): string {
  return JSON.stringify(path.map(String))
}

/**
 * The path that a dotted text means inside `value`. Keys may hold dots themselves (`headers.x.y`), so at each step the
 * shortest existing key wins, and what leads nowhere is split at its dots.
 */
export function undotted(value: unknown, text: string): Path {
  if (text === '') return []
  const parts = text.split('.')
  for (let count = 1; count <= parts.length; count++) {
    const key = parts.slice(0, count).join('.')
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) continue
    const step = Array.isArray(value) ? Number(key) : key
    const inner = (value as Record<string, unknown>)[key]
    return [step, ...undotted(inner, parts.slice(count).join('.'))]
  }
  return parts
}
