import type { JWTPayload } from 'jose'

/** Verified claims. */
export type Claims = JWTPayload

/**
 * The claim of that name, or the one that a dotted path leads to (`realm_access.roles`). A whole name comes first, because names
 * may be addresses: `https://example.com/thing`. Only own members count.
 */
export function claimAt(claims: Claims, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path]
  let value: unknown = claims
  for (const step of path.split('.')) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, step))
      return undefined
    value = (value as Readonly<Record<string, unknown>>)[step]
  }
  return value
}

/**
 * Whether a claim has a value, or is a list that has it. `scope` (RFC 8693 §4.2) and `scp` are words with spaces between; in any
 * other claim a text is one value, because some claims are a user's own words.
 */
export function hasClaim(claims: Claims, path: string, wanted: string | number | boolean): boolean {
  const value = claimAt(claims, path)
  if (Array.isArray(value)) return value.includes(wanted)
  if (typeof value === 'string' && (path === 'scope' || path === 'scp'))
    return value.split(' ').includes(String(wanted))
  return value === wanted
}

/** The texts of a claim that is one text or a list of them; undefined where it is anything else. */
export function textsOf(value: unknown): readonly string[] | undefined {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  return list.every((item) => typeof item === 'string') ? list : undefined
}
