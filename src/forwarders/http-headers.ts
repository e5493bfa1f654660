import { z } from 'zod'

/** Headers that are ours: how the request travels, whose it is, what it may be told apart by (RFC 9110 §7.6.1 and others). */
const reserved = new Map([
  ...[
    'connection',
    'content-length',
    'expect',
    'host',
    'keep-alive',
    'te',
    'trailer',
    'transfer-encoding',
    'upgrade',
  ].map((name) => [name, 'is set by the way the request is sent'] as const),
  ...['proxy-authenticate', 'proxy-authorization', 'proxy-connection'].map(
    (name) => [name, 'is for proxies, and none is used'] as const,
  ),
  ['authorization', "is set by the worker's credential"],
  ['cookie', 'would act as somebody; use a credential'],
  ['idempotency-key', 'is set by Sluice: the same for a message through retries and replays'],
])

/** Characters of all headers of a rule together; servers stop at 8 to 16 KiB for all. */
const longest = 4096

/** RFC 9110 §5.6.2, token. */
const headerName = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/

/**
 * Names and values of headers. A value is visible ASCII with spaces inside: a line break would begin a header of the
 * device's own, and beyond ASCII servers disagree (RFC 9110 §5.5).
 */
export const httpHeaders = z
  .record(
    z.string(),
    z.string().regex(/^(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?$/, 'must be visible ASCII on one line'),
  )
  .superRefine((headers, context) => {
    for (const name of Object.keys(headers)) {
      const message = headerName.test(name) ? reserved.get(name.toLowerCase()) : 'is not the name of a header'
      if (message !== undefined) context.addIssue({ code: 'custom', path: [name], message })
    }
    const length = Object.entries(headers).reduce((sum, [name, value]) => sum + name.length + value.length, 0)
    if (length <= longest) return
    context.addIssue({ code: 'custom', message: `must have at most ${longest} characters together` })
  })

/** Headers by lower-case name; later sources win. */
export function mergeHeaders(
  ...sources: readonly (Readonly<Record<string, string>> | undefined)[]
): ReadonlyMap<string, string> {
  const merged = new Map<string, string>()
  for (const source of sources) {
    for (const [name, value] of Object.entries(source ?? {})) merged.set(name.toLowerCase(), value)
  }
  return merged
}
