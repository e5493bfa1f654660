/** More parameters than any signer makes, and few enough to sort. */
const maxParameters = 64

/**
 * Decodes a query as SigV4 reads it: names and values percent-decoded, `+` no blank. Undefined where two readers could
 * understand it differently, because only one of them would have checked the signature: a raw `+` (a blank to forms, a plus to
 * AWS), a name twice (case folded), an empty pair, an escape that is no UTF-8, a name with anything but unreserved characters.
 */
export function decodeQuery(raw: string): ReadonlyMap<string, string> | undefined {
  const parameters = new Map<string, string>()
  if (raw === '') return parameters
  if (!/^[\x21-\x7e]+$/.test(raw) || raw.includes('+')) return undefined
  const seen = new Set<string>()
  const pairs = raw.split('&', maxParameters + 1)
  if (pairs.length > maxParameters) return undefined
  for (const pair of pairs) {
    const equals = pair.indexOf('=')
    const name = decoded(equals === -1 ? pair : pair.slice(0, equals))
    const value = equals === -1 ? '' : decoded(pair.slice(equals + 1))
    if (name === undefined || value === undefined || !isName(name) || seen.has(name.toLowerCase())) return undefined
    seen.add(name.toLowerCase())
    parameters.set(name, value)
  }
  return parameters
}

/** Unreserved characters (RFC 3986 §2.3). `__proto__` would get lost in the signer's plain objects and so not be signed. */
function isName(name: string): boolean {
  return /^[\w.~-]{1,128}$/.test(name) && name !== '__proto__'
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
