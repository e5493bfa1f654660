import type { Scalar } from 'yaml'

/** A scalar as the parser gives it: with its place in the text. */
export type PlacedScalar = Pick<Scalar, 'value' | 'type'> & { readonly range?: readonly number[] | null | undefined }

/**
 * Where the character `offset` of a scalar's value stands in the file's text. YAML changes nothing but white space and
 * escapes (indentation goes, lines are folded), so the n-th character that isn't white space in the value is the n-th one
 * in the source, in all five styles. On white space the answer is close by, on everything else exact.
 */
export function offsetInside(text: string, scalar: PlacedScalar, offset: number): number {
  const [start = 0, end = start] = scalar.range ?? []
  const value = typeof scalar.value === 'string' ? scalar.value : text.slice(start, end)
  const at = Math.max(0, Math.min(Math.trunc(offset), value.length))
  const units = sourceUnits(text, scalar.type, start, end)

  let before = 0
  let spaces = 0
  for (let index = 0; index < at; index++) {
    if (isSpace(value[index])) spaces++
    else {
      before++
      spaces = 0
    }
  }
  const own = units[before]
  if (at < value.length && !isSpace(value[at])) return own ?? start
  const previous = units[before - 1]
  if (previous === undefined) return own ?? start
  const lineEnd = text.indexOf('\n', previous)
  return Math.min(previous + 1 + spaces, own ?? end, lineEnd < 0 ? end : lineEnd)
}

/** The source offset of each UTF-16 unit of the value that isn't white space. */
function sourceUnits(text: string, type: Scalar['type'], start: number, end: number): number[] {
  if (type === 'QUOTE_DOUBLE') return doubleQuotedUnits(text, start + 1, end - 1)
  const block = type === 'BLOCK_LITERAL' || type === 'BLOCK_FOLDED'
  // The header of a block (`|-2 # comment`) ends with its line.
  const from = block ? text.indexOf('\n', start) + 1 : type === 'QUOTE_SINGLE' ? start + 1 : start
  const to = type === 'QUOTE_SINGLE' ? end - 1 : end
  const units: number[] = []
  for (let index = from; index < to; index++) {
    if (isSpace(text[index])) continue
    units.push(index)
    if (type === 'QUOTE_SINGLE' && text[index] === "'") index++ // '' stands for one quote
  }
  return units
}

function doubleQuotedUnits(text: string, from: number, to: number): number[] {
  const units: number[] = []
  for (let index = from; index < to; index++) {
    if (isSpace(text[index])) continue
    if (text[index] !== '\\') {
      units.push(index)
      continue
    }
    const escape = text[index + 1] ?? ''
    const digits = { x: 2, u: 4, U: 8 }[escape] ?? 0
    const code = Number.parseInt(text.slice(index + 2, index + 2 + digits), 16)
    const white = digits === 0 ? /[ntr \t\r\n]/.test(escape) : isSpace(String.fromCharCode(code))
    if (!white) units.push(index)
    if (code > 0xffff) units.push(index)
    index += 1 + digits
  }
  return units
}

/** YAML's white space; other Unicode spaces are ordinary characters to it. */
function isSpace(character: string | undefined): boolean {
  return character === ' ' || character === '\n' || character === '\t' || character === '\r'
}
