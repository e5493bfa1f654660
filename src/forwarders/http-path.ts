/** Why a rendered path was refused, in words for the rule's author; undefined when it is fine. */
export type PathComplaint = string | undefined

/** Characters of a rendered path; servers refuse longer request lines anyway (RFC 9110 §4.1 asks for 8,000 octets). */
const longest = 4000

/** How often a path is decoded to see what it becomes behind a proxy or two that decode as well. */
const layers = 4

/**
 * Checks a path that was made from a device's data. Joined to the worker's url it must stay below it, for every server:
 * no scheme or host, no query, no empty or dot segment, no slash hidden in an escape, no matter how often it is decoded,
 * and with what servers drop (`..;x`) dropped.
 */
export function complainAboutPath(path: string): PathComplaint {
  if (path.length > longest) return `the path has ${path.length} characters, and at most ${longest} are allowed`
  if (!path.isWellFormed()) return 'the path is not well-formed Unicode'
  if (/[?#]/.test(path)) return 'the path holds "?" or "#"; write the query as with.query'
  for (const segment of segmentsOf(path)) {
    const complaint = complainAboutSegment(segment)
    if (complaint !== undefined) return complaint
  }
  return undefined
}

/** The url with a checked path below its own; the url's query stays. */
export function joinPath(base: URL, path: string): URL {
  const joined = new URL(base)
  const below = segmentsOf(path).map(encodeSegment).join('/')
  joined.pathname = `${base.pathname.replace(/\/$/, '')}/${below}`
  return joined
}

/** A leading slash says nothing: every path is below the url. */
function segmentsOf(path: string): readonly string[] {
  return path.replace(/^\//, '').split('/')
}

function complainAboutSegment(segment: string): PathComplaint {
  let text = segment
  for (let layer = 0; layer < layers; layer += 1) {
    if (text === '') return 'the path has an empty part; a template may have found nothing'
    if (/[/\\]/.test(text)) return 'the path hides a slash in a part of it'
    if (/\p{Cc}/u.test(text)) return 'the path holds a control character'
    if (/^\.{1,2}$/.test(text.split(';', 1)[0]?.trim() ?? '')) return 'the path has a "." or ".." part'
    const decoded = decode(text)
    if (decoded === undefined) {
      return layer === 0 ? 'the path holds "%" without two hex digits after it; write %25' : undefined
    }
    if (decoded === text) return undefined
    text = decoded
  }
  return 'the path is percent-encoded too many times'
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** Escapes that are there stay; what a path may not hold (RFC 3986 §3.3, pchar) is escaped. */
function encodeSegment(segment: string): string {
  return segment.replace(/[^\w.~!$&'()*+,;=:@%-]+/g, encodeURIComponent)
}
