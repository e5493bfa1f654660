import type { Outcome } from '../core/outcome.ts'
import { delivered } from '../core/outcome.ts'
import { blocked, failed, rejected, unanswered } from './outcomes.ts'
import { plainText } from './text.ts'

/** What came back, as far as it matters. */
export interface HttpAnswer {
  readonly status: number
  readonly retryAfter?: string | undefined
  readonly location?: string | undefined
  /** The beginning of the body; text of a stranger. */
  readonly beginning: string
}

export interface AnswerContext {
  /** Whether a rule's `with.path` was part of the url: then 404 is about this message, else about the worker. */
  readonly templated: boolean
  /** Milliseconds. */
  readonly maxRetryAfter: number
  readonly now: number
}

/** What an answer means for the messages of its request. */
export function outcomeOfAnswer(answer: HttpAnswer, context: AnswerContext): Outcome {
  const { status } = answer
  if (status >= 200 && status < 300) return delivered
  const reason = reasonOf(answer)
  if (status < 400) return blocked(reason)
  const afterMs = retryAfterMs(answer.retryAfter, context)
  // Nobody has looked at the message: too slow, too early, too many, no service.
  if (status === 408 || status === 425 || status === 429 || status === 503) return unanswered(reason, afterMs)
  if (status >= 500) return failed(reason, afterMs)
  if (status === 401 || status === 403 || status === 407) return blocked(reason)
  if (status === 404 && !context.templated) return blocked(reason)
  return rejected(reason)
}

/** `Retry-After` in milliseconds, as seconds or as a date (RFC 9110 §10.2.3), within its bound; undefined where there is none. */
export function retryAfterMs(
  value: string | undefined,
  { maxRetryAfter, now }: Pick<AnswerContext, 'maxRetryAfter' | 'now'>,
): number | undefined {
  if (value === undefined) return undefined
  const text = value.trim()
  // Date.parse takes nearly anything; an HTTP date begins with the day of the week.
  const ms = /^\d+$/.test(text)
    ? Number(text) * 1000
    : /^[A-Z][a-z]{2}/.test(text)
      ? Date.parse(text) - now
      : Number.NaN
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), maxRetryAfter)
}

function reasonOf({ status, location, beginning }: HttpAnswer): string {
  if (status < 400 && location !== undefined) {
    return `the far side answered ${status} and points to ${plainText(location)}; redirects are not followed`
  }
  const said = plainText(beginning)
  return said === '' ? `the far side answered ${status}` : `the far side answered ${status}: ${said}`
}
