/**
 * Bytes as they stand in a queue job: the text itself where the bytes are UTF-8 without NUL, base64 where not.
 * Never a parsed object: the embedded queue keeps jobs as Postgres `jsonb`, which refuses U+0000 and lone surrogates
 * and forgets the order of keys (feasibility-queue, change 4); a string is also the cheapest form.
 */
export type Wire = string | { readonly base64: string }

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Encodes bytes for a queue job; `fromWire` gives the very same bytes back. */
export function toWire(bytes: Uint8Array): Wire {
  const text = textOf(bytes)
  if (text !== undefined && !text.includes('\0')) return text
  return { base64: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64') }
}

/** Decodes what `toWire` made. */
export function fromWire(wire: Wire): Buffer {
  return typeof wire === 'string' ? Buffer.from(wire, 'utf8') : Buffer.from(wire.base64, 'base64')
}

/** The text that the bytes spell in UTF-8, or undefined where they spell none. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes)
  } catch {
    return undefined
  }
}

/** Text that any queue can hold: NUL and lone surrogates become U+FFFD. For error texts and property values. */
export function storable(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\uFFFD')
}
