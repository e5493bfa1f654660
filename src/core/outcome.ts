/**
 * What an attempt came to, for one message. A forwarder says what happened; delivery/ alone decides what follows.
 *
 * - `delivered`: the far side has it.
 * - `retry`: not now. `answered` is true where the far side looked at this message and said no for now: that spends an
 *   attempt; false for a network failure, 429 or 503, which spend none and are bounded by age. `afterMs` is the far
 *   side's own wish (Retry-After) about this message; it holds up no other.
 * - `rejected`: this message will never be taken. `together` is there where one answer refused several messages of the batch and took
 *   none of them: all of them hold the same symbol, and any one may be the culprit. delivery/ sends them again in halves. Without it
 *   the answer was about this message alone, which is not sent again.
 * - `blocked`: nothing can be delivered until someone acts (bad credential, missing queue); the worker pauses, probes,
 *   keeps its messages and spends no attempt.
 */
export type Outcome =
  | { readonly kind: 'delivered' }
  | { readonly kind: 'retry'; readonly reason: string; readonly answered: boolean; readonly afterMs?: number }
  | { readonly kind: 'rejected'; readonly reason: string; readonly together?: symbol }
  | { readonly kind: 'blocked'; readonly reason: string }

export const delivered: Outcome = { kind: 'delivered' }
