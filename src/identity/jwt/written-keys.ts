import { parsedJson } from '../../core/parsed-json.ts'

/** What only private and secret keys have (RFC 7518 §6): a file that holds them can sign, and belongs to the issuer alone. */
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']

/** What is wrong with the text of a JWK Set (RFC 7517 §5) that stands in a file; undefined when it is fine. Repeats nothing of it. */
export function complainAboutKeys(text: string): string | undefined {
  const set = parsedJson(text)
  if (set === undefined) return 'is not valid JSON'
  const keys = member(set, 'keys')
  if (!Array.isArray(keys) || keys.length === 0) return 'must be a JWK Set: { "keys": [ … ] } with at least one key'
  for (const [index, key] of keys.entries()) {
    if (typeof member(key, 'kty') !== 'string') return `key ${index + 1} is no JWK: it has no "kty"`
    if (privateMembers.some((name) => member(key, name) !== undefined))
      return `key ${index + 1} is not a public key; put only public ones here`
  }
  return undefined
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
  return (value as Readonly<Record<string, unknown>>)[name]
}
