import { ExactNumber } from './exact-numbers.ts'
import { ExpressionError } from './expression-error.ts'
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

/** Walks a result once. What is shared inside it counts each time it occurs, as it will be written. */
export function checkResult(root: unknown, mostBytes: number): void {
  let left = mostBytes
  const open = [root]
  while (open.length > 0) {
    const value = open.pop()
    left -= 1
    if (typeof value === 'string') left -= value.length + 1
    else if (typeof value === 'number') {
      if (!Number.isFinite(value)) throw failure('D3001', 'the result holds a number out of range')
    } else if (typeof value === 'function') throw aFunction()
    else if (value instanceof ExactNumber) left -= value.text.length
    else if (Array.isArray(value)) for (const item of value) open.push(item)
    else if (typeof value === 'object' && value !== null) {
      if ('_jsonata_lambda' in value || '_jsonata_function' in value) throw aFunction()
      for (const [key, field] of Object.entries(value)) {
        left -= key.length + 2
        open.push(field)
      }
    }
    if (left < 0) throw tooLarge(mostBytes)
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
