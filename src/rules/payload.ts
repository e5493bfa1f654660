import { textOf } from '../core/wire.ts'
import { ExactNumber } from './exact-numbers.ts'
import { ExpressionError } from './expression-error.ts'
import { jsonataMarks } from './marks.ts'

/** The payload of one message, decoded when a rule first looks and once for all rules. */
export class Payload {
  readonly #bytes: Uint8Array
  #text: { readonly value: string | undefined } | undefined
  #plain: Decoded | undefined
  #exact: Decoded | undefined

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get bytes(): Uint8Array {
    return this.#bytes
  }

  /** The text; undefined where the bytes are not UTF-8. */
  get text(): string | undefined {
    this.#text ??= { value: textOf(this.#bytes) }
    return this.#text.value
  }

  /** The JSON value; undefined where there is none. Throws ExpressionError for one that expressions can't be shown. */
  get value(): unknown {
    this.#plain ??= decode(this.text, parsePlain)
    return valueOf(this.#plain)
  }

  /** Whether it may hold a number that a double can't. */
  get mayNeedExact(): boolean {
    return this.text !== undefined && longNumber.test(this.text)
  }

  /** As `value`, with an `ExactNumber` for each number that a double can't hold. */
  get exactValue(): unknown {
    if (!this.mayNeedExact) return this.value
    this.#exact ??= decode(this.text, parseExact)
    return valueOf(this.#exact)
  }
}

type Decoded = { readonly value: unknown } | { readonly error: ExpressionError }

function valueOf(decoded: Decoded): unknown {
  if ('error' in decoded) throw decoded.error
  return decoded.value
}

/** Where JSON has a number of at least 16 digits, or one with an exponent: cheap, and wrong only towards a second look. */
const longNumber = /(?:^|[[:,\s])-?\d(?:[\d.]{15}|[\d.]*[eE])/

function decode(text: string | undefined, parse: (text: string) => unknown): Decoded {
  if (text === undefined) return { value: undefined }
  let value: unknown
  try {
    value = parse(text)
  } catch (error) {
    // SyntaxError: not JSON, which is nobody's fault. RangeError: nested deeper than the stack of the reviver.
    return error instanceof RangeError
      ? { error: failure('PAYLOAD_DEPTH', 'is nested too deeply') }
      : { value: undefined }
  }
  const complaint = mayHoldMarks.test(text) ? findMark(value) : undefined
  return complaint === undefined ? { value } : { error: complaint }
}

function failure(reason: string, sentence: string): ExpressionError {
  return new ExpressionError('EXPRESSION_FAILED', `the payload ${sentence}`, { reason })
}

function parsePlain(text: string): unknown {
  return JSON.parse(text)
}

type Reviver = (this: unknown, key: string, value: unknown, context: { readonly source?: string }) => unknown

function parseExact(text: string): unknown {
  const reviver: Reviver = (_, value, { source }) =>
    typeof value === 'number' && source !== undefined && !holds(value, source) ? new ExactNumber(source) : value
  return JSON.parse(text, reviver as (key: string, value: unknown) => unknown)
}

const smallestNormal = 2 ** -1022

/** Whether a double's shortest text is the same number as the source. */
function holds(value: number, source: string): boolean {
  // Fifteen digits always come back, but not below the smallest normal double, where there are fewer bits (105e-324).
  if (source.length < 16 && Number.isFinite(value) && Math.abs(value) >= smallestNormal) return true
  return Number.isFinite(value) && canonical(String(value)) === canonical(source)
}

/** `-1200e-1` → `-12e1`: the digits without zeros at their ends, and the power of ten of the last. */
function canonical(text: string): string {
  const match = /^(?<sign>-?)(?<whole>\d+)(?:\.(?<fraction>\d+))?(?:[eE](?<exponent>[+-]?\d+))?$/.exec(text)
  const { sign = '', whole = '', fraction = '', exponent = '0' } = match?.groups ?? {}
  const all = `${whole}${fraction}`
  let first = 0
  while (first < all.length && all[first] === '0') first += 1
  if (first === all.length) return '0'
  let end = all.length
  while (all[end - 1] === '0') end -= 1
  return `${sign}${all.slice(first, end)}e${BigInt(exponent) - BigInt(fraction.length) + BigInt(all.length - end)}`
}

/** A cheap look first; a key may be spelled with `\u`. */
const mayHoldMarks = /_jsonata_|tupleStream|outerWrapper|\\u00/

function findMark(root: unknown): ExpressionError | undefined {
  const open = [root]
  while (open.length > 0) {
    const value = open.pop()
    if (typeof value !== 'object' || value === null || value instanceof ExactNumber) continue
    const mark = Array.isArray(value) ? undefined : jsonataMarks.find((key) => Object.hasOwn(value, key))
    if (mark !== undefined)
      return failure('PAYLOAD_MARK', `has a field "${mark}", a name that jsonata keeps for itself`)
    for (const inner of Object.values(value)) open.push(inner)
  }
  return undefined
}
