import type { z } from 'zod'
import type { Problem } from '../core/problem.ts'
import { suggestion } from '../core/nearest.ts'
import { type Path, dotted } from './path.ts'
import { type YamlFile, valueAt } from './yaml.ts'

export interface CheckOptions {
  /** Where `value` stands in the file. */
  readonly base?: Path
  /** Keys that belong to the same mapping and are checked elsewhere: known to suggestions. */
  readonly alsoKnown?: readonly string[]
  /** Leaves out the issues of the value at this path (relative to `value`), such as a template that has no value yet. */
  readonly ignore?: (path: Path, fault: Fault) => boolean
}

/** What is wrong at a path: nothing is there, a key that nobody knows, or the value. */
export type Fault = 'missing' | 'unknown' | 'value'

export type Checked<Schema extends z.ZodType> =
  | { readonly ok: true; readonly value: z.output<Schema>; readonly problems: readonly [] }
  | { readonly ok: false; readonly problems: readonly Problem[] }

type Issue = z.core.$ZodIssue
/** The known keys of the object that an `unrecognized_keys` issue came from, by the issue's own list of keys. */
type KnownKeys = WeakMap<object, readonly string[]>

/**
 * Validates a part of a file. Every issue becomes a problem at its place, in words. Issues of values whose references were
 * left open are ignored (`ok` is false then, with no problems).
 */
export function checkSchema<Schema extends z.ZodType>(
  file: YamlFile,
  schema: Schema,
  value: unknown,
  options: CheckOptions = {},
): Checked<Schema> {
  const known: KnownKeys = new WeakMap()
  let result = schema.safeParse(value, { error: (issue) => describe(issue, known) })
  if (!result.success && convertReferenced(file, value, options.base ?? [], result.error.issues)) {
    result = schema.safeParse(value, { error: (issue) => describe(issue, known) })
  }
  if (result.success) return { ok: true, value: result.data, problems: [] }
  const mapping: Mapping = { file, value, known, options, base: options.base ?? [] }
  return { ok: false, problems: result.error.issues.flatMap((issue) => problemsOf(mapping, issue, [])) }
}

interface Mapping {
  readonly file: YamlFile
  readonly value: unknown
  readonly known: KnownKeys
  readonly options: CheckOptions
  readonly base: Path
}

function problemsOf(mapping: Mapping, issue: Issue, above: Path): Problem[] {
  const { file, value, options, base } = mapping
  const path = [...above, ...(issue.path as Path)]
  const fault = valueAt(value, path) === undefined ? 'missing' : 'value'
  if (issue.code === 'unrecognized_keys') {
    const keys = issue.keys.filter((key) => options.ignore?.([...path, key], 'unknown') !== true)
    return keys.map((key) => unknownKey(mapping, issue.keys, path, key))
  }
  if (isOpen(file, [...base, ...path]) || options.ignore?.(path, fault) === true) return []
  if (issue.code === 'invalid_union') {
    const branch = meantBranch(issue.errors)
    if (branch !== undefined) return branch.flatMap((inner) => problemsOf(mapping, inner, path))
  }
  const full = [...base, ...path]
  return [file.problem(full, sentence(full, issue.message))]
}

/** The branch of a union that the value was meant for: the one whose complaints are about its inside, fewest of them. */
function meantBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  const inside = branches.filter(
    (issues) => !issues.some(({ path, code }) => path.length === 0 && code === 'invalid_type'),
  )
  const [best] = inside.toSorted((a, b) => a.length - b.length)
  return best
}

function unknownKey(
  { file, known, options, base }: Mapping,
  keys: readonly string[],
  path: Path,
  key: string,
): Problem {
  const candidates = [...(known.get(keys) ?? []), ...(path.length === 0 ? (options.alsoKnown ?? []) : [])]
  const full = [...base, ...path, key]
  const near = suggestion(key, candidates)
  const hint = near === '' && candidates.length > 0 ? `; known here: ${candidates.join(', ')}` : near
  return file.problem(full, `unknown key "${key}"${hint}`, file.keyPosition(full))
}

function isOpen(file: YamlFile, path: Path): boolean {
  return path.some((_, index) => file.referenceState(path.slice(0, index + 1)) === 'open')
}

/** `delivery.attempts must be …`; a sentence with a subject of its own stands behind a colon. */
function sentence(path: Path, message: string): string {
  if (path.length === 0) return message
  return `${dotted(path)}${/^(?:must|is|has|holds|names) /.test(message) ? ' ' : ': '}${message}`
}

/**
 * A reference gives text; where a number or `true` is wanted, its text is converted. Changes `value`, which is ours.
 * Says whether anything changed.
 */
function convertReferenced(file: YamlFile, value: unknown, base: Path, issues: readonly Issue[]): boolean {
  let changed = false
  for (const issue of issues) {
    const path = issue.path as Path
    const last = path.at(-1)
    const text = valueAt(value, path)
    if (last === undefined || typeof text !== 'string' || file.referenceState([...base, ...path]) !== 'resolved')
      continue
    const converted = /^-?\d{1,15}(?:\.\d+)?$/.test(text)
      ? Number(text)
      : text === 'true'
        ? true
        : text === 'false'
          ? false
          : text
    if (converted === text) continue
    const holder = valueAt(value, path.slice(0, -1)) as Record<string | number, unknown>
    holder[last] = converted
    changed = true
  }
  return changed
}

function describe(issue: z.core.$ZodRawIssue, known: KnownKeys): string | undefined {
  if (issue.code === 'unrecognized_keys') {
    const { shape } = (issue.inst?._zod.def ?? {}) as { readonly shape?: unknown }
    if (typeof shape === 'object' && shape !== null) known.set(issue.keys, Object.keys(shape))
    return 'unknown key'
  }
  if (issue.input === undefined) return 'is missing'
  switch (issue.code) {
    case 'invalid_type':
      return typeSentence(issue)
    case 'invalid_value':
      return `must be ${anyOf(issue.values)}${typeof issue.input === 'string' ? suggestion(issue.input, issue.values.map(String)) : ''}`
    case 'invalid_union':
      return unionWords(issue)
    case 'too_small':
    case 'too_big':
      return sizeWords(issue)
    case 'invalid_format':
      return issue.format === 'regex'
        ? `must have the form ${String(issue['pattern'])}`
        : `is not a valid ${issue.format}`
    case 'invalid_key':
      return 'has a key that is not allowed'
    case 'not_multiple_of':
      return `must be a multiple of ${issue.divisor}`
    case 'invalid_element':
    case 'custom':
      return undefined
  }
}

function typeSentence(issue: z.core.$ZodRawIssue<z.core.$ZodIssueInvalidType>): string {
  const { format } = (issue.inst?._zod.def ?? {}) as { readonly format?: unknown }
  const expected = format === 'safeint' ? 'int' : issue.expected
  if (expected === 'int' && typeof issue.input === 'number') return 'must be a whole number'
  return `must be ${typeWords[expected] ?? expected}, and is ${kindOf(issue.input)}`
}

function unionWords(issue: z.core.$ZodRawIssue<z.core.$ZodIssueInvalidUnion>): string {
  if ('options' in issue && Array.isArray(issue.options)) return `must be ${anyOf(issue.options)}`
  const expected = issue.errors.flatMap((branch) =>
    branch.map((inner) => (inner.code === 'invalid_type' ? inner.expected : undefined)),
  )
  const words = [...new Set(expected.filter((type) => type !== undefined).map((type) => typeWords[type] ?? type))]
  return words.length === 0 ? 'is not valid' : `must be ${words.join(' or ')}, and is ${kindOf(issue.input)}`
}

function sizeWords(issue: z.core.$ZodRawIssue<z.core.$ZodIssueTooBig | z.core.$ZodIssueTooSmall>): string {
  const big = issue.code === 'too_big'
  const bound = big ? issue.maximum : issue.minimum
  if (issue.origin === 'string' && !big && bound === 1) return 'must not be empty'
  const unit =
    issue.origin === 'string' ? ' characters' : issue.origin === 'array' || issue.origin === 'set' ? ' entries' : ''
  if (issue.inclusive === false) return `must be ${big ? 'less' : 'more'} than ${bound}`
  return `must ${unit === '' ? 'be' : 'have'} at ${big ? 'most' : 'least'} ${bound}${bound === 1 ? unit.replace(/ies$/, 'y').replace(/s$/, '') : unit}`
}

const typeWords: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a mapping',
  record: 'a mapping',
  array: 'a list',
  tuple: 'a list',
  null: 'empty',
}

function kindOf(value: unknown): string {
  if (value === null) return 'empty'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'string') return 'text'
  if (typeof value === 'number') return 'a number'
  if (typeof value === 'boolean') return `${value}`
  return 'a mapping'
}

function anyOf(values: readonly unknown[]): string {
  const words = values.map((value) => (typeof value === 'string' ? `"${value}"` : String(value)))
  const last = words.pop() ?? ''
  return words.length === 0 ? last : `${words.join(', ')} or ${last}`
}
