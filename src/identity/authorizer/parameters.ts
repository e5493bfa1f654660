import type { HttpFacts, Presented } from '../../core/access.ts'

/** What a request says under a name: nothing, one value, or several that contradict each other. */
export type Said =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'value'; readonly value: string }
  | { readonly kind: 'unclear' }

/**
 * Looks a name up, without regard to case, wherever custom authentication allows it (AWS IoT, "Connecting to AWS IoT Core by using
 * custom authentication"): HTTP headers, query parameters, and parameters in the MQTT user name (`user?name=value&…`). Values of
 * the last two are percent-encoded; `+` stands for itself, because base64 has it and forms are not sent here.
 */
export function said({ username, http }: Presented, name: string): Said {
  const key = name.toLowerCase()
  const values = new Set<string>()
  const header = http !== undefined && Object.hasOwn(http.headers, key) ? http.headers[key] : undefined
  if (header !== undefined) values.add(header)
  const raw = [...pairs(http?.query ?? ''), ...pairs(userParameters(username))]
  for (const [pairName, pairValue] of raw) {
    if (decoded(pairName)?.toLowerCase() !== key) continue
    const value = decoded(pairValue)
    if (value === undefined) return { kind: 'unclear' }
    values.add(value)
  }
  if (values.size > 1) return { kind: 'unclear' }
  const [value] = values
  return value === undefined ? { kind: 'nothing' } : { kind: 'value', value }
}

/** Whether a request is signed with an AWS access key, in its header or its query: another method's part. */
export function showsAwsCredentials(http: HttpFacts | undefined): boolean {
  if (http === undefined) return false
  if (/^\s*AWS4-/i.test(http.headers['authorization'] ?? '')) return true
  return pairs(http.query).some(([name]) => /^x-amz-(?:algorithm|credential|signature)$/i.test(decoded(name) ?? ''))
}

/** Every value that stands as a parameter in a query or in an MQTT user name, as it was sent and decoded. */
export function parameterValues(query: string): readonly string[] {
  return pairs(query).flatMap(([, value]) => [value, decoded(value) ?? value])
}

/**
 * What follows the first `?` of an MQTT user name. Older AWS device SDKs add `?SDK=…&Version=…` to whatever stands there, so a
 * second `?` may begin further parameters.
 */
export function userParameters(username: string | undefined): string {
  const mark = username?.indexOf('?') ?? -1
  if (username === undefined || mark < 0) return ''
  return username.slice(mark + 1).replaceAll(/\?(?=SDK=|x-amz-customauthorizer-)/gi, '&')
}

function pairs(query: string): (readonly [string, string])[] {
  if (query === '') return []
  return query.split('&').map((pair) => {
    const equals = pair.indexOf('=')
    return equals < 0 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)]
  })
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
