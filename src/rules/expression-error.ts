import { messageOf, SluiceError } from '../core/errors.ts'
import { storable } from '../core/wire.ts'

/** EXPRESSION_INVALID: a text does not parse. EXPRESSION_FAILED: it failed on a message. */
export class ExpressionError extends SluiceError {
  /** jsonata's code (`S0201`, `T2001`, `D1012`, …) or one of ours; undefined where there is none. */
  readonly reason: string | undefined
  /** Where in the text, in characters from 0, as far as it is known. */
  readonly offset: number | undefined

  constructor(
    code: 'EXPRESSION_INVALID' | 'EXPRESSION_FAILED',
    message: string,
    { reason, offset, cause }: { reason?: string | undefined; offset?: number | undefined; cause?: unknown } = {},
  ) {
    super(code, message, cause === undefined ? undefined : { cause })
    this.reason = reason
    this.offset = offset
  }
}

/** Messages of jsonata quote values, and those come from devices. */
const longestMessage = 500

/**
 * The ExpressionError of whatever was thrown. jsonata throws plain objects `{ code, position, token, message }`, whose
 * position is behind the token; the engine under it throws RangeError where the stack or a string ends.
 */
export function toExpressionError(
  code: 'EXPRESSION_INVALID' | 'EXPRESSION_FAILED',
  thrown: unknown,
  text: string,
): ExpressionError {
  if (thrown instanceof ExpressionError) return thrown
  const said = fieldsOf(thrown)
  const message = storable(sentenceOf(thrown, said.code)).slice(0, longestMessage)
  return new ExpressionError(code, message, { reason: said.code, offset: offsetOf(said, text) })
}

interface Said {
  readonly code?: string
  readonly position?: number
  readonly token?: unknown
}

function fieldsOf(thrown: unknown): Said {
  if (typeof thrown !== 'object' || thrown === null) return {}
  const { code, position, token } = thrown as Record<string, unknown>
  return {
    ...(typeof code === 'string' && { code }),
    ...(typeof position === 'number' && { position }),
    token,
  }
}

function sentenceOf(thrown: unknown, code: string | undefined): string {
  if (thrown instanceof RangeError) return `it went too deep or became too large (${thrown.message})`
  const message = messageOf(thrown)
  return code === undefined ? message : `${message} (${code})`
}

function offsetOf({ position, token }: Said, text: string): number | undefined {
  if (position === undefined) return undefined
  const end = Math.min(position, text.length)
  const written = typeof token === 'string' || typeof token === 'number' ? String(token) : ''
  if (written === '' || written === '(end)') return Math.max(0, Math.min(end, text.length - 1))
  // A call is placed behind its "(", and the token of a variable lacks its "$".
  const behind = text[end - 1] === '(' && !written.endsWith('(') ? end - 1 : end
  const start = behind - written.length
  if (start < 0 || text.slice(start, behind) !== written) return Math.max(0, end - 1)
  return text[start - 1] === '$' ? start - 1 : start
}
