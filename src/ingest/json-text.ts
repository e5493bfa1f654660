const quote = 0x22
const backslash = 0x5c
const openBrace = 0x7b
const openBracket = 0x5b
const closeBrace = 0x7d
const closeBracket = 0x5d

/**
 * The elements of a JSON array as they are written, byte for byte: a number keeps digits that a double can't hold, an object
 * its key order. `text` must be a JSON array already (JSON.parse took it): this only cuts, it checks nothing.
 */
export function elementsOf(text: string): string[] {
  const elements: string[] = []
  let at = skipSpace(text, text.indexOf('[') + 1)
  while (text.charCodeAt(at) !== closeBracket) {
    const end = endOfValue(text, at)
    elements.push(text.slice(at, end))
    at = skipToNext(text, end)
  }
  return elements
}

/** The members of a JSON object in order, names decoded, values as they are written. A name that came twice is there twice. */
export function membersOf(text: string): [name: string, value: string][] {
  const members: [string, string][] = []
  let at = skipSpace(text, text.indexOf('{') + 1)
  while (text.charCodeAt(at) !== closeBrace) {
    const nameEnd = endOfString(text, at)
    const name = JSON.parse(text.slice(at, nameEnd)) as string
    const start = skipSpace(text, text.indexOf(':', nameEnd) + 1)
    const end = endOfValue(text, start)
    members.push([name, text.slice(start, end)])
    at = skipToNext(text, end)
  }
  return members
}

function skipSpace(text: string, from: number): number {
  let at = from
  while (isSpace(text.charCodeAt(at))) at += 1
  return at
}

function skipToNext(text: string, from: number): number {
  const at = skipSpace(text, from)
  return text[at] === ',' ? skipSpace(text, at + 1) : at
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09
}

function endOfValue(text: string, from: number): number {
  const first = text.charCodeAt(from)
  if (first === quote) return endOfString(text, from)
  if (first === openBrace || first === openBracket) return endOfNest(text, from)
  let at = from
  for (; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === 0x2c || code === closeBrace || code === closeBracket || isSpace(code)) break
  }
  return at
}

function endOfNest(text: string, from: number): number {
  let depth = 0
  for (let at = from; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === quote) at = endOfString(text, at) - 1
    else if (code === openBrace || code === openBracket) depth += 1
    else if (code === closeBrace || code === closeBracket) {
      depth -= 1
      if (depth === 0) return at + 1
    }
  }
  return text.length
}

function endOfString(text: string, from: number): number {
  for (let at = text.indexOf('"', from + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    let escapes = 0
    while (text.charCodeAt(at - 1 - escapes) === backslash) escapes += 1
    if (escapes % 2 === 0) return at + 1
  }
  return text.length
}
