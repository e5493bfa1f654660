import { ExactNumber } from './exact-numbers.ts'
import { exceeds } from './exceeds.ts'
import { ExpressionError } from './expression-error.ts'
import { isFunction } from './jsonata.ts'
import { isRawJson } from './raw-json.ts'

/**
 * The compact JSON text of what an expression made. Throws ExpressionError EXPRESSION_FAILED for a function, a number out
 * of range, and a result over the limit.
 */
export function toJson(value: unknown, mostBytes: number): string {
  checkResult(value, mostBytes)
  const text = JSON.stringify(value)
  // The check counts characters, and those beyond ASCII have more bytes.
  if (text.length * 3 > mostBytes && Buffer.byteLength(text) > mostBytes) throw tooLarge(mostBytes)
  return text
}

/** The same value as plain objects and arrays. Exact numbers become text, since a value that isn't JSON text can't hold them. */
export function toPlain(value: unknown, mostBytes: number): unknown {
  if (value instanceof ExactNumber) return value.text
  if (typeof value !== 'object' || value === null) {
    checkResult(value, mostBytes)
    return value
  }
  checkResult(value, mostBytes)
  return JSON.parse(JSON.stringify(value, (_, inner: unknown) => (isRawJson(inner) ? inner.rawJSON : inner)))
}

function checkResult(root: unknown, mostBytes: number): void {
  if (exceeds(root, mostBytes)) throw tooLarge(mostBytes)
  const open = [root]
  while (open.length > 0) {
    const value = open.pop()
    if (typeof value === 'number' && !Number.isFinite(value)) {
      throw failure('D3001', 'the result holds a number out of range')
    }
    if (typeof value === 'function') throw aFunction()
    if (typeof value !== 'object' || value === null || value instanceof ExactNumber) continue
    if (isFunction(value)) throw aFunction()
    // jsonata's arrays have a `push` of their own, so only their items are looked at.
    for (const inner of Array.isArray(value) ? (value as unknown[]) : Object.values(value)) open.push(inner)
  }
}

function failure(reason: string, message: string): ExpressionError {
  return new ExpressionError('EXPRESSION_FAILED', message, { reason })
}

function aFunction(): ExpressionError {
  return failure('FUNCTION_RESULT', 'the result holds a function; call it: $name()')
}

function tooLarge(mostBytes: number): ExpressionError {
  return failure('RESULT_SIZE', `the result is over ${mostBytes} bytes`)
}
