import type { Outcome } from '../core/outcome.ts'

/** The far side gave no answer about this message: a network failure, a limit, an outage. Spends no attempt. */
export function unanswered(reason: string, afterMs?: number): Outcome {
  return { kind: 'retry', reason, answered: false, ...(afterMs !== undefined && { afterMs }) }
}

/** The far side looked at this message and said no for now. Spends an attempt. */
export function failed(reason: string, afterMs?: number): Outcome {
  return { kind: 'retry', reason, answered: true, ...(afterMs !== undefined && { afterMs }) }
}

/** This message will never be taken. */
export function rejected(reason: string): Outcome {
  return { kind: 'rejected', reason }
}

/** What one answer means for all messages of its request: a refusal of several says nothing about any one of them. */
export function forAll(outcome: Outcome, count: number): readonly Outcome[] {
  const each = outcome.kind === 'rejected' && count > 1 ? { ...outcome, together: Symbol('one request') } : outcome
  return Array.from({ length: count }, () => each)
}

/** Nothing can be delivered until someone acts. */
export function blocked(reason: string): Outcome {
  return { kind: 'blocked', reason }
}

/** Whether an outcome says that the far side, as it is now, gives no answer to anything. */
export function isUnanswered(outcome: Outcome): boolean {
  return outcome.kind === 'retry' && !outcome.answered
}
