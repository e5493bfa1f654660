import { messageOf } from '../core/errors.ts'
import type { Forwarder, Item } from '../core/forwarder.ts'
import type { Log } from '../core/log.ts'
import { delivered, type Outcome } from '../core/outcome.ts'

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
 * Sends a batch and tells one outcome per item, by its place, each as soon as it is known. Messages that one answer refused
 * together are sent again in halves until those refused stand alone: one bad message must not take its neighbours along, and a far
 * side that refuses several at once has taken none of them. A message that was answered by itself is not sent again here.
 */
export async function sendBatch(
  items: readonly Item[],
  context: SendContext,
  tell: (outcomes: ReadonlyMap<number, Outcome>) => void,
): Promise<void> {
  await send([...items.keys()])

  /** Gives what the rest is told instead of being sent: it is blocked, or the far side has gone away meanwhile. */
  async function send(places: readonly number[]): Promise<Outcome | undefined> {
    const told = new Set<number>()
    const arrived = (index: number) => {
      const place = places[index]
      if (place === undefined || told.has(place)) return
      told.add(place)
      tell(new Map([[place, delivered]]))
    }
    const outcomes = await attempt(
      places.flatMap((place) => items[place] ?? []),
      context,
      arrived,
    )
    const { known, refused } = sortOut(places, outcomes)
    for (const place of told) known.delete(place)
    tell(known)
    let rest = outcomes.find(({ kind }) => kind === 'blocked') ?? silenceOf(outcomes)
    for (const group of refused) {
      const middle = group.length >>> 1
      for (const half of [group.slice(0, middle), group.slice(middle)]) {
        const instead = rest
        if (instead === undefined) rest = await send(half)
        else tell(new Map(half.map((place) => [place, instead])))
      }
    }
    return rest
  }
}

/** Splits what is known of a message from what was said of several together. */
function sortOut(places: readonly number[], outcomes: readonly Outcome[]) {
  const groups = new Map<symbol, number[]>()
  for (const [index, place] of places.entries()) {
    const outcome = outcomes[index]
    if (outcome?.kind !== 'rejected' || outcome.together === undefined) continue
    const group = groups.get(outcome.together)
    if (group === undefined) groups.set(outcome.together, [place])
    else group.push(place)
  }
  const refused = [...groups.values()].filter((group) => group.length > 1)
  const among = new Set(refused.flat())
  const known = new Map<number, Outcome>()
  for (const [index, place] of places.entries()) {
    const outcome = outcomes[index]
    if (outcome !== undefined && !among.has(place)) known.set(place, outcome)
  }
  return { known, refused }
}

/** Where nothing got an answer: what is said of messages that are not sent after that. */
function silenceOf(outcomes: readonly Outcome[]): Outcome | undefined {
  const [first] = outcomes
  const silent = outcomes.every((outcome) => outcome.kind === 'retry' && !outcome.answered)
  return silent && first?.kind === 'retry' ? unanswered(first.reason) : undefined
}

/** One call of the forwarder. Whatever it does (throws, hangs, answers nonsense) there is an outcome per item. Never rejects. */
async function attempt(
  items: readonly Item[],
  context: SendContext,
  arrived: (index: number) => void,
): Promise<readonly Outcome[]> {
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
    const outcomes = await Promise.race([call(forwarder, items, controller.signal, arrived), left])
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
async function call(forwarder: Forwarder, ...given: Parameters<Forwarder['send']>): Promise<readonly Outcome[]> {
  return forwarder.send(...given)
}

function noOutcome(log: Log): Outcome {
  log.error({}, 'the forwarder gave no outcome for a message; this is a defect in it')
  return unanswered('the forwarder gave no outcome')
}

function unanswered(reason: string): Outcome {
  return { kind: 'retry', reason, answered: false }
}
