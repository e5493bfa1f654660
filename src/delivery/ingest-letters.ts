import { envelopeVersion, type Failure, type FailureKind } from '../core/envelope.ts'
import type { Message } from '../core/message.ts'
import { ownerOf } from '../core/owner.ts'
import { entryOfMessage } from './entry-message.ts'
import { newDeadLetterId } from './ids.ts'
import { reasonOf } from './text.ts'

/** A dead letter on its way to the queue. */
export interface DeadLetterJob {
  /** Whose it is: never a worker, whose letters come by its failures queue. */
  readonly owner: string
  readonly id: string
  readonly data: Failure
}

/** The dead letter of a message on which a rule failed: it holds the original bytes, and *replay* runs it through the current rules. */
export function deadLetterOfRuleFailure(message: Message, rule: string, reason: string): DeadLetterJob {
  return letterOf(ownerOf('rule', rule), 'evaluation', reason, message, rule)
}

/**
 * The dead letter of a message that a bridge has acknowledged to its broker and that was not let in. *replay* hands it in again as the
 * bridge would. Without `payload` its bytes were too many to be kept.
 */
export function deadLetterOfRefusal(
  bridge: string,
  message: Message,
  reason: string,
  { payload = true }: { readonly payload?: boolean } = {},
): DeadLetterJob {
  const job = letterOf(ownerOf('bridge', bridge), 'refused', reason, message, '')
  if (payload) return job
  const { in: _nothing, ...entry } = job.data.entry
  return { ...job, data: { ...job.data, entry } }
}

function letterOf(owner: string, kind: FailureKind, reason: string, message: Message, rule: string): DeadLetterJob {
  const at = Date.now()
  const said = reasonOf(reason, (text) => text)
  const entry = { ...entryOfMessage(message, rule), errors: [{ at, reason: said }] }
  return { owner, id: newDeadLetterId(), data: { v: envelopeVersion, kind, reason: said, at, entry } }
}
