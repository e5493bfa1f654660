/**
 * What an attempt came to, for one message. A forwarder says what happened; delivery/ alone decides what follows.
 *
 * - `delivered`: the far side has it.
 * - `retry`: not now. `answered` is true where the far side looked at this message and said no for now: that spends an
 *   attempt; false for a network failure, 429 or 503, which spend none and are bounded by age. `afterMs` is the far
 *   side's own wish (Retry-After).
 * - `rejected`: this message will never be taken.
 * - `blocked`: nothing can be delivered until someone acts (bad credential, missing queue); the worker pauses, probes,
 *   keeps its messages and spends no attempt.
 */
export type Outcome =
  | { readonly kind: 'delivered' }
  | { readonly kind: 'retry'; readonly reason: string; readonly answered: boolean; readonly afterMs?: number }
  | { readonly kind: 'rejected'; readonly reason: string }
  | { readonly kind: 'blocked'; readonly reason: string }

export const delivered: Outcome = { kind: 'delivered' }
