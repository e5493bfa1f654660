import { messageOf } from '../core/errors.ts'
import type { Forwarder, Item } from '../core/forwarder.ts'
import type { Log } from '../core/log.ts'
import type { Outcome } from '../core/outcome.ts'

export interface SendContext {
  readonly forwarder: Forwarder
  readonly signal: AbortSignal
  /** A send that takes longer is aborted and counted as not answered. */
  readonly timeoutMs: number
  readonly log: Log
}

/** How long an aborted send may still take to say what happened, before it is left behind. */
const graceMs = 1_000

/**
 * Sends a batch and gives one outcome per item. A batch that is rejected whole is halved until those rejected stand
 * alone: one bad message must not take its neighbours along, and a far side that rejects a batch has taken none of it.
 */
export async function sendBatch(items: readonly Item[], context: SendContext): Promise<readonly Outcome[]> {
  const outcomes = await attempt(items, context)
  if (items.length < 2 || !outcomes.every((outcome) => outcome.kind === 'rejected')) return outcomes
  const middle = items.length >>> 1
  const first = await sendBatch(items.slice(0, middle), context)
  const blocked = first.find((outcome) => outcome.kind === 'blocked')
  if (blocked !== undefined) return [...first, ...items.slice(middle).map(() => blocked)]
  return [...first, ...(await sendBatch(items.slice(middle), context))]
}

/** One call of the forwarder. Whatever it does (throws, hangs, answers nonsense) there is an outcome per item. Never rejects. */
async function attempt(items: readonly Item[], context: SendContext): Promise<readonly Outcome[]> {
  const { forwarder, signal, timeoutMs, log } = context
  if (signal.aborted) return items.map(() => unanswered('the worker is stopping'))
  const controller = new AbortController()
  let overdue: Outcome | undefined
  let leave: (outcomes: readonly Outcome[]) => void
  const left = new Promise<readonly Outcome[]>((resolve) => (leave = resolve))
  let grace: NodeJS.Timeout | undefined

  const stop = (reason: string) => {
    if (overdue !== undefined) return
    const outcome = unanswered(reason)
    overdue = outcome
    controller.abort(new Error(reason))
    grace = setTimeout(() => leave(items.map(() => outcome)), graceMs)
  }
  const onAbort = () => stop('the worker is stopping')
  signal.addEventListener('abort', onAbort, { once: true })
  const timer = setTimeout(() => stop(`no answer within ${timeoutMs} ms`), timeoutMs)
  try {
    const outcomes = await Promise.race([call(forwarder, items, controller.signal), left])
    return items.map((_, index) => outcomes[index] ?? noOutcome(log))
  } catch (error) {
    // An aborted send may well throw; any other throw is a defect of the forwarder.
    if (overdue !== undefined) return items.map(() => overdue ?? unanswered('aborted'))
    log.error({ error: messageOf(error) }, 'the forwarder threw instead of answering; this is a defect in it')
    return items.map(() => unanswered(messageOf(error)))
  } finally {
    clearTimeout(timer)
    clearTimeout(grace)
    signal.removeEventListener('abort', onAbort)
  }
}

/** Async, so that a forwarder that throws before its first await is caught like any other. */
async function call(forwarder: Forwarder, items: readonly Item[], signal: AbortSignal): Promise<readonly Outcome[]> {
  return forwarder.send(items, signal)
}

function noOutcome(log: Log): Outcome {
  log.error({}, 'the forwarder gave no outcome for a message; this is a defect in it')
  return unanswered('the forwarder gave no outcome')
}

function unanswered(reason: string): Outcome {
  return { kind: 'retry', reason, answered: false }
}
