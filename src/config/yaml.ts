import { type Document, LineCounter, type YAMLError, isScalar, parseDocument } from 'yaml'
import { messageOf } from '../core/errors.ts'
import type { Position, Problem } from '../core/problem.ts'
import { textOf } from '../core/wire.ts'
import { type Path, dotted, pathKey, undotted } from './path.ts'
import { offsetInside } from './scalar-offset.ts'
import { Reading, type Substitute, startOf } from './yaml-reading.ts'

/** Bytes of one file: more than 10,000 things, and little enough to hold and parse at once. */
export const maxFileBytes = 4 * 1024 * 1024
export interface YamlSource {
  /** As problems show it. */
  readonly name: string
  /** Absolute. */
  readonly path: string
  readonly bytes: Uint8Array
}

/** A parsed file: its value, and where every part of it stands. */
export class YamlFile {
  readonly name: string
  readonly path: string
  /** Plain objects, arrays, strings, numbers, booleans and null; a fresh tree, nothing in it is shared. */
  readonly value: unknown
  readonly #reading: Reading

  constructor(source: YamlSource, value: unknown, reading: Reading) {
    this.name = source.name
    this.path = source.path
    this.value = value
    this.#reading = reading
  }

  /** Where the value at `path` stands; for a missing one the nearest that holds it, for an empty one its key. */
  position(path: Path): Position {
    const { node, key } = this.#reading.find(path)
    const empty = isScalar(node) && node.range !== undefined && node.range !== null && node.range[0] === node.range[1]
    return this.#reading.positionAt(startOf(empty ? key : node) ?? startOf(node) ?? 0)
  }

  /** Where the key at `path` stands; for a missing one as `position`. */
  keyPosition(path: Path): Position {
    const { key, complete } = this.#reading.find(path)
    const start = complete ? startOf(key) : undefined
    return start === undefined ? this.position(path) : this.#reading.positionAt(start)
  }

  /** Where the character `offset` of the text at `path` stands, in whatever style it is written. */
  positionInside(path: Path, offset: number): Position {
    const { node, complete } = this.#reading.find(path)
    if (!complete || !isScalar(node)) return this.position(path)
    return this.#reading.positionAt(offsetInside(this.#reading.text, node, offset))
  }

  /** A problem of the value at `path`. Resolved references in the message are put back to what the user wrote. */
  problem(path: Path, message: string, position: Position = this.position(path)): Problem {
    return { ...position, path: dotted(path), message: this.#reading.conceal(message) }
  }

  /** The path that a dotted text means in this file; keys may hold dots themselves. */
  pathOf(text: string, base: Path = []): Path {
    return [...base, ...undotted(valueAt(this.value, base), text)]
  }

  /** Whether the value at `path` held references, and whether they were replaced. */
  referenceState(path: Path): 'resolved' | 'open' | undefined {
    return this.#reading.states.get(pathKey(path))
  }

  /** Whether a reference at `path` or below it was left open. */
  hasOpenReferencesBelow(path: Path): boolean {
    const start = pathKey(path).slice(0, -1)
    return [...this.#reading.states].some(([key, state]) => state === 'open' && key.startsWith(start))
  }

  /** Whether any reference in the file was left open. */
  get hasOpenReferences(): boolean {
    return [...this.#reading.states.values()].includes('open')
  }
}

/** What parsing gave: problems, or a file; never both a file and a syntax error. */
export type Parsed =
  | { readonly file: YamlFile; readonly problems: readonly Problem[] }
  | { readonly file?: undefined; readonly problems: readonly Problem[] }

/**
 * Parses one YAML 1.2 document (JSON is YAML), without custom tags, merge keys or several documents in a file. Never
 * throws: whatever the bytes are, the answer is a value or a problem. An empty file has the value null.
 */
export function parseYaml(source: YamlSource, substitute: Substitute = (text) => ({ text })): Parsed {
  const refuse = (message: string, line = 1, column = 1): Parsed => ({
    problems: [{ file: source.name, line, column, path: '', message }],
  })
  if (source.bytes.length > maxFileBytes) return refuse(`the file has more than ${maxFileBytes / 1024 ** 2} MiB`)
  const decoded = textOf(source.bytes)
  if (decoded === undefined) return refuse('the file is not UTF-8 text')
  const text = decoded.startsWith('\uFEFF') ? decoded.slice(1) : decoded

  const lines = new LineCounter()
  const document = parseText(text, lines)
  if (typeof document === 'string') return refuse(`the file cannot be read as YAML: ${document}`)
  const reading = new Reading(source.name, text, document, lines, substitute)
  // What follows the first error is mostly its echo.
  const [error] = [...document.errors, ...document.warnings]
  if (error !== undefined) {
    const { line, column } = reading.positionAt(error.pos[0])
    return refuse(syntaxMessage(error, text.split('\n')[line - 1] ?? ''), line, column)
  }
  if (document.directives.yaml.version !== '1.2') return refuse('write YAML 1.2, without a %YAML directive')
  const value = reading.read()
  if (reading.broken) return { problems: reading.problems }
  return { file: new YamlFile(source, value, reading), problems: reading.problems }
}

/** The document, or why the parser gave up: text nested beyond its stack. */
function parseText(text: string, lineCounter: LineCounter): Document.Parsed | string {
  try {
    return parseDocument(text, {
      lineCounter,
      version: '1.2',
      schema: 'core',
      stringKeys: true,
      uniqueKeys: false, // the reading finds duplicates, in linear time, and says where the first stands
      resolveKnownTags: false,
      prettyErrors: false,
      logLevel: 'error', // 'silent' would swallow a second document
    })
  } catch (error) {
    return messageOf(error)
  }
}

function syntaxMessage({ code, message }: YAMLError, line: string): string {
  if (code === 'MULTIPLE_DOCS') return 'the file holds more than one YAML document; put each in a file of its own'
  // Some messages quote the file, however long the quote gets.
  const short = lowerFirst(message.length > 200 ? `${message.slice(0, 200)}…` : message)
  if (code === 'TAG_RESOLVE_FAILED') return `${short}; tags are not used here`
  const hint = line.includes('${') ? '; inside { } and [ ], text with ${ … } must stand in quotes' : ''
  return `not valid YAML: ${short}${hint}`
}

/** The value at `path`; own properties only. */
export function valueAt(value: unknown, path: Path): unknown {
  let current = value
  for (const step of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, step)) return undefined
    current = (current as Record<string | number, unknown>)[step]
  }
  return current
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}
