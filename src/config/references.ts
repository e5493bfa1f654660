import type { Place, Reference, Resolve } from '../core/reference.ts'
import { openPartsOf } from './open-places.ts'
import type { Path } from './path.ts'
import type { Substitute, Substituted } from './yaml-reading.ts'

/** `${env:` or `${file:`, with the `$` before it that makes it literal. Other `${ … }` are templates or policy variables. */
const pattern = /\$?\$\{(?:env|file):[^}]*\}?/g

/**
 * Replaces the references in text values. `$${env:` is the text `${env:`. `placeOf` says to whom the value at a path
 * belongs; undefined where no reference may stand. Without `resolve`, references stay as they are written.
 */
export function substituteReferences(
  resolve: Resolve | undefined,
  placeOf: (path: Path) => Place | undefined,
): Substitute {
  return (text, path) => {
    if (!text.includes('${env:') && !text.includes('${file:')) return { text }
    const place = placeOf(path)
    if (place === undefined)
      return withProblem(text, `${nameOf(path)}no reference may stand here; write the value itself`, 0)
    const open = openPartsOf(text, insideReferences(text))
    return substituted(text, (reference, offset) => {
      const part = open.find(({ from, to }) => from <= offset && offset < to)
      return resolve?.(reference, part === undefined ? place : { ...place, isOpen: part.isOpen })
    })
  }
}

/** For rules: they are read by ingest on everybody's behalf, so no secret and no environment may show in them. */
export const refuseReferences: Substitute = (text) => {
  const match = /(?<!\$)\$\{(?:env|file):/.exec(text)
  if (match === null) return { text }
  return withProblem(
    text,
    `"${match[0]}…}" may not stand in a rule; references belong into sluice.yaml, workers/ and identity/`,
    match.index,
  )
}

function insideReferences(text: string): (offset: number) => boolean {
  const spans = [...text.matchAll(pattern)].map((match) => [match.index, match.index + match[0].length] as const)
  return (offset) => spans.some(([from, to]) => from <= offset && offset < to)
}

function substituted(
  text: string,
  resolve: (reference: Reference, offset: number) => ReturnType<Resolve> | undefined,
): Substituted {
  const problems: { message: string; offset: number }[] = []
  const replaced: { reference: string; value: string }[] = []
  let found = false
  let open = false
  const result = text.replaceAll(pattern, (written: string, offset: number) => {
    if (written.startsWith('$$')) return written.slice(1)
    found = true
    const reference = parseReference(written)
    const resolved = reference === undefined ? { problem: malformed(written) } : resolve(reference, offset)
    if (resolved !== undefined && 'value' in resolved) {
      replaced.push({ reference: written, value: resolved.value })
      return resolved.value
    }
    open = true
    // Stands in for a part of a text, so that the rest of it (an address around a password) can still be read.
    if (resolved !== undefined && 'open' in resolved) return 'unresolved'
    if (resolved !== undefined) problems.push({ message: resolved.problem, offset })
    return written
  })
  if (!found) return { text: result }
  return { text: result, state: open ? 'open' : 'resolved', problems, replaced }
}

function parseReference(written: string): Reference | undefined {
  const match = /^\$\{(?<kind>env|file):(?<body>[^}]+)\}$/.exec(written)
  const body = match?.groups?.['body']
  if (body === undefined || body.includes('${')) return undefined
  if (match?.groups?.['kind'] === 'file') return { kind: 'file', path: body }
  const env = /^(?<name>[A-Za-z_]\w*)(?::-(?<fallback>.*))?$/s.exec(body)
  const name = env?.groups?.['name']
  const fallback = env?.groups?.['fallback']
  if (name === undefined) return undefined
  return { kind: 'env', name, ...(fallback !== undefined && { fallback }) }
}

function malformed(written: string): string {
  return `"${written.slice(0, 80)}" is not a reference; write \${env:NAME}, \${env:NAME:-default} or \${file:path}`
}

function withProblem(text: string, message: string, offset: number): Substituted {
  return { text, state: 'open', problems: [{ message, offset }] }
}

function nameOf(path: Path): string {
  return path.length === 0 ? '' : `${path.join('.')}: `
}
