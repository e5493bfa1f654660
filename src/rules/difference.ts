/** What `{ $any: … }` in an expectation may name. */
const kinds = ['number', 'string', 'boolean', 'object', 'array'] as const

/** One place where a value is not what was expected. */
export interface Difference {
  /** Dotted; empty for the value itself. */
  readonly path: string
  readonly message: string
}

/** Differences that are told; who has more has another problem. */
const most = 20

/**
 * Where a JSON value differs from an expected one. Objects must have the same keys, in any order; arrays the same items, in
 * order. `{ $any: number | string | boolean | object | array }` stands for any value of that type.
 */
export function differences(expected: unknown, actual: unknown): readonly Difference[] {
  const found: Difference[] = []
  compare(expected, actual, '', found)
  return found.slice(0, most)
}

function compare(expected: unknown, actual: unknown, path: string, found: Difference[]): void {
  const any = anyOf(expected)
  if (any !== undefined) {
    if (kindOf(actual) !== any) found.push({ path, message: `expected any ${any}, got ${shown(actual)}` })
    return
  }
  if (Array.isArray(expected) && Array.isArray(actual)) {
    if (expected.length !== actual.length) {
      found.push({ path, message: `expected ${expected.length} items, got ${actual.length}: ${shown(actual)}` })
    }
    for (const [index, item] of expected.entries()) {
      if (index < actual.length) compare(item, actual[index], below(path, index), found)
    }
    return
  }
  if (isRecord(expected) && isRecord(actual)) return compareFields(expected, actual, path, found)
  if (expected !== actual) found.push({ path, message: `expected ${shown(expected)}, got ${shown(actual)}` })
}

function compareFields(
  expected: Readonly<Record<string, unknown>>,
  actual: Readonly<Record<string, unknown>>,
  path: string,
  found: Difference[],
): void {
  for (const [key, value] of Object.entries(expected)) {
    if (Object.hasOwn(actual, key)) compare(value, actual[key], below(path, key), found)
    else found.push({ path: below(path, key), message: `expected ${shown(value)}, and it is missing` })
  }
  for (const key of Object.keys(actual)) {
    if (!Object.hasOwn(expected, key))
      found.push({ path: below(path, key), message: `not expected: ${shown(actual[key])}` })
  }
}

/** Where an expectation holds an `{ $any: … }` of a type that there is not: it would be taken as it stands, and never fit. */
export function complainAboutAny(expected: unknown, path: string): readonly { path: string; message: string }[] {
  if (typeof expected !== 'object' || expected === null) return []
  if (Object.hasOwn(expected, '$any') && anyOf(expected) === undefined) {
    return [{ path, message: `$any must stand alone and be one of ${kinds.join(', ')}` }]
  }
  return Object.entries(expected).flatMap(([key, value]) => complainAboutAny(value, below(path, key)))
}

function anyOf(expected: unknown): (typeof kinds)[number] | undefined {
  if (!isRecord(expected)) return undefined
  const keys = Object.keys(expected)
  return keys.length === 1 ? kinds.find((kind) => kind === expected['$any']) : undefined
}

function kindOf(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return kindOf(value) === 'object'
}

function below(path: string, key: string | number): string {
  return path === '' ? String(key) : `${path}.${key}`
}

function shown(value: unknown): string {
  const text = value === undefined ? 'nothing' : JSON.stringify(value)
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}
