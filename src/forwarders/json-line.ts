import type { Item } from '../core/forwarder.ts'
import { textOf } from '../core/wire.ts'

const quote = 0x22
const backslash = 0x5c

/**
 * A payload as one line of NDJSON, or one element of a JSON array: JSON with the white space between its tokens taken
 * out and nothing else touched (numbers keep every digit, strings every escape, keys their order), and what isn't JSON
 * as `{"base64":"…"}`. Never contains a line break.
 */
export function jsonLine({ payload, selected }: Pick<Item, 'payload' | 'selected'>): Buffer {
  if (selected || isJson(payload)) return withoutSpace(payload)
  return Buffer.from(`{"base64":"${payload.toString('base64')}"}`, 'latin1')
}

/** Whether the bytes are a JSON text (RFC 8259), in UTF-8 and without a byte order mark. */
export function isJson(payload: Buffer): boolean {
  const text = textOf(payload)
  if (text === undefined) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** JSON is scanned as bytes: none of those that matter occurs inside a UTF-8 sequence. */
function withoutSpace(json: Buffer): Buffer {
  let kept: Buffer | undefined
  let length = 0
  let inString = false
  for (let index = 0; index < json.length; index += 1) {
    const byte = json[index] ?? 0
    if (inString && byte === backslash) {
      if (kept !== undefined) kept[length] = byte
      length += 1
      index += 1 // what is escaped belongs to the string, a quote too
    } else if (byte === quote) {
      inString = !inString
    } else if (!inString && isSpace(byte)) {
      kept ??= copyOf(json, index)
      continue
    }
    if (kept !== undefined) kept[length] = json[index] ?? 0
    length += 1
  }
  return kept === undefined ? json : kept.subarray(0, length)
}

function copyOf(json: Buffer, upTo: number): Buffer {
  const copy = Buffer.allocUnsafe(json.length)
  json.copy(copy, 0, 0, upTo)
  return copy
}

/** RFC 8259 §2: space, tab, line feed, carriage return. */
function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d
}
