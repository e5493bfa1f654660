import { exceeds } from './exceeds.ts'
import { ExpressionError } from './expression-error.ts'
import { builtins, type Definition, type Focus, type Implementation } from './jsonata.ts'
import type { ExpressionLimits } from './limits.ts'

/**
 * Functions of jsonata whose cost a device could drive up, in a form that is bounded. They do what jsonata's do, and their
 * parameters are spelled out because jsonata reads them from the source of a function when it is applied in part.
 */
export function boundedBuiltins(limits: ExpressionLimits): ReadonlyMap<string, Implementation> {
  const fits = (name: string, length: number): void => {
    if (length > limits.textLength) {
      throw failure(name, 'TEXT_LENGTH', `would build a text of over ${limits.textLength} characters`)
    }
  }
  const measured = (name: string, value: unknown): void => {
    if (exceeds(value, limits.textLength))
      throw failure(name, 'TEXT_LENGTH', `was given more than ${limits.textLength} characters`)
  }
  const call = (name: string, focus: Focus, args: unknown[]): unknown =>
    original(name).implementation.apply(focus, args)

  return new Map<string, Implementation>([
    [
      'pad',
      function (str: string | undefined, width: number, char?: string) {
        // Padding of several characters is repeated to the width first and cut then.
        fits('pad', Math.abs(width) * Math.max(1, char?.length ?? 1))
        return call('pad', this, [str, width, char])
      },
    ],
    [
      'join',
      function (strs: readonly string[] | undefined, separator?: string) {
        let length = (separator?.length ?? 0) * (strs?.length ?? 0)
        for (const text of strs ?? []) length += text.length
        fits('join', length)
        return call('join', this, [strs, separator])
      },
    ],
    [
      'replace',
      function (str: string | undefined, pattern: unknown, replacement: unknown, limit?: number) {
        const meter = (matched: number) => fits('replace', matched)
        const metered = typeof replacement === 'string' ? meterMatches(str ?? '', pattern, replacement, meter) : pattern
        return call('replace', this, [str, metered, replacement, limit])
      },
    ],
    [
      'string',
      function (arg: unknown, prettify?: boolean) {
        measured('string', arg)
        return call('string', this, [arg, prettify])
      },
    ],
    [
      'clone',
      function (arg: unknown) {
        measured('clone', arg)
        return call('clone', this, [arg])
      },
    ],
    [
      'distinct',
      function (arr: unknown) {
        measured('distinct', arr)
        return distinct(this, arr)
      },
    ],
    [
      'sort',
      function (arr: readonly unknown[] | undefined, comparator?: unknown) {
        const plain = comparator === undefined && arr !== undefined && arr.length > 1 ? sorted(arr) : undefined
        return plain ?? call('sort', this, [arr, comparator])
      },
    ],
    [
      'spread',
      function (arg: unknown) {
        return Array.isArray(arg) ? spread(this, arg, limits) : call('spread', this, [arg])
      },
    ],
    [
      'formatNumber',
      function (value: number | undefined, picture: string, options?: unknown) {
        finite('formatNumber', value)
        picturable('formatNumber', picture)
        return call('formatNumber', this, [value, picture, options])
      },
    ],
    [
      'formatInteger',
      function (value: number | undefined, picture: string) {
        finite('formatInteger', value)
        picturable('formatInteger', picture)
        // Roman numerals are subtracted one by one.
        if (Math.abs(value ?? 0) > 1e6 && /^[iI]/.test(picture))
          throw failure('formatInteger', 'D3130', 'has no roman numeral for it')
        return call('formatInteger', this, [value, picture])
      },
    ],
    [
      'parseInteger',
      function (value: string | undefined, picture: string) {
        readable('parseInteger', value, 256)
        picturable('parseInteger', picture)
        return call('parseInteger', this, [value, picture])
      },
    ],
    [
      'fromMillis',
      function (millis: number | undefined, picture?: string, timezone?: string) {
        picturable('fromMillis', picture)
        return call('fromMillis', this, [millis, picture, timezone])
      },
    ],
    [
      'toMillis',
      function (timestamp: string | undefined, picture?: string) {
        // jsonata makes a regular expression of the picture that can backtrack: no time of day is longer than this.
        if (picture !== undefined) readable('toMillis', timestamp, picture.includes('][') ? 40 : 64)
        picturable('toMillis', picture)
        return call('toMillis', this, [timestamp, picture])
      },
    ],
  ])
}

/** Functions that make arrays or longer texts at one blow, whose results are charged to the budget. */
const making = new Set(
  'append reverse shuffle zip split map filter each keys match lookup encodeUrl encodeUrlComponent base64encode'.split(
    ' ',
  ),
)

/** jsonata's own form of a function that makes much out of little; undefined for others. */
export function repeatable(name: string): Implementation | undefined {
  return making.has(name) ? original(name).implementation : undefined
}

/** The signature of a function of jsonata. */
export function signatureOf(name: string): string | undefined {
  return original(name).signature?.definition
}

/** How many arguments a function of jsonata is handed by functions that call it. */
export function arityOf(name: string): number {
  return original(name).implementation.length
}

function original(name: string): Definition {
  const definition = builtins.get(name)
  // INVARIANT: only names of jsonata's own functions come here.
  if (definition === undefined) throw new Error(`jsonata has no function ${name}`)
  return definition
}

function failure(name: string, reason: string, sentence: string): ExpressionError {
  return new ExpressionError('EXPRESSION_FAILED', `$${name} ${sentence}`, { reason })
}

function finite(name: string, value: number | undefined): void {
  if (value !== undefined && !Number.isFinite(value)) throw failure(name, 'D3001', 'was given a number out of range')
}

function picturable(name: string, picture: string | undefined): void {
  if ((picture?.length ?? 0) > 256) throw failure(name, 'PICTURE_LENGTH', 'was given a picture of over 256 characters')
}

function readable(name: string, value: string | undefined, most: number): void {
  if ((value?.length ?? 0) > most)
    throw failure(name, 'TEXT_LENGTH', `was given a text of over ${most} characters to read`)
}

interface Match {
  readonly match: string
  readonly next: unknown
}

/** The pattern, with the length of the result so far reported at every match. */
function meterMatches(text: string, pattern: unknown, replacement: string, meter: (length: number) => void): unknown {
  if (typeof pattern === 'string') {
    if (pattern !== '') meter(text.length + (text.split(pattern).length - 1) * replacement.length)
    return pattern
  }
  if (typeof pattern !== 'function') return pattern
  const groups = replacement.split('$').length - 1
  let length = text.length
  const metered =
    (matcher: (...args: unknown[]) => unknown) =>
    async (...args: unknown[]) => {
      const found = (await matcher(...args)) as Match | undefined
      if (found === undefined) return undefined
      length += replacement.length + groups * found.match.length
      meter(length)
      return typeof found.next === 'function' ? { ...found, next: metered(found.next as () => unknown) } : found
    }
  return metered(pattern as () => unknown)
}

/** jsonata compares each item with each; equal JSON values have equal texts when their keys are in order. */
function distinct(focus: Focus, value: unknown): unknown {
  if (!Array.isArray(value) || value.length <= 1) return value
  const seen = new Set<unknown>()
  const items = (value as unknown[]).filter((item) => {
    const key =
      typeof item === 'object' && item !== null ? `object ${JSON.stringify(item, inOrder)}` : primitiveKey(item)
    if (seen.has(key)) return false
    seen.add(key)
    return true
  })
  const result = 'sequence' in value ? focus.createSequence() : []
  for (const item of items) result.push(item)
  return result
}

function primitiveKey(item: unknown): unknown {
  return typeof item === 'string' ? `text ${item}` : item
}

function inOrder(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Numbers or texts in order; undefined where they are mixed, for jsonata to say so. */
function sorted(values: readonly unknown[]): unknown[] | undefined {
  const kind = typeof values[0]
  if (kind !== 'number' && kind !== 'string') return undefined
  if (!values.every((value) => typeof value === kind)) return undefined
  return [...(values as string[])].sort((a, b) => (a > b ? 1 : a < b ? -1 : 0))
}

function spread(focus: Focus, values: readonly unknown[], limits: ExpressionLimits): unknown {
  const result = focus.createSequence()
  for (const value of values) {
    const parts: unknown = original('spread').implementation.call(focus, value)
    if (parts === undefined) continue
    for (const part of Array.isArray(parts) ? (parts as unknown[]) : [parts]) result.push(part)
    if (result.length > limits.sequence) throw failure('spread', 'D2015', `would make over ${limits.sequence} items`)
  }
  return result
}
