import type { Outcome } from '../core/outcome.ts'
import { isUnanswered, unanswered } from './outcomes.ts'

export interface RequestsOptions {
  /** How many items there are. */
  readonly count: number
  /** The items of each request, by index; items in none of them must be in `settled`. */
  readonly groups: readonly (readonly number[])[]
  /** Outcomes that are known without a request. */
  readonly settled?: ReadonlyMap<number, Outcome>
  /** Requests in flight. With 1 they go in order, each after the answer to the one before. */
  readonly parallel: number
  /** Requests in a row without an answer after which the rest is not sent: the far side is away. */
  readonly giveUpAfter: number
  /** One request; gives one outcome per index, and never throws. */
  readonly request: (indexes: readonly number[]) => Promise<readonly Outcome[]>
  /** Called for each item that the far side has, as soon as that is known. */
  readonly arrived?: ((index: number) => void) | undefined
}

/**
 * Sends a batch that takes several requests and gives an outcome per item, in order. After `blocked`, or when the far side
 * seems to be away, the rest is not sent: nobody has asked for a wait before those.
 */
export async function sendRequests(options: RequestsOptions): Promise<readonly Outcome[]> {
  const { count, groups, parallel, giveUpAfter, request, arrived } = options
  const outcomes = Array.from<Outcome | undefined>({ length: count })
  for (const [index, outcome] of options.settled ?? []) outcomes[index] = outcome
  let missed = 0
  let rest: Outcome | undefined

  const note = (outcome: Outcome) => {
    if (outcome.kind === 'blocked') rest = outcome
    missed = isUnanswered(outcome) ? missed + 1 : 0
    if (missed >= giveUpAfter && outcome.kind === 'retry') {
      rest ??= unanswered(`not sent, after others got no answer: ${outcome.reason}`)
    }
  }

  const send = async (indexes: readonly number[]): Promise<void> => {
    const unsent = rest
    const answers = unsent === undefined ? await request(indexes) : indexes.map(() => unsent)
    for (const [place, index] of indexes.entries()) {
      outcomes[index] = answers[place]
      if (answers[place]?.kind === 'delivered') arrived?.(index)
    }
    // A far side that has answered about any message is there, whatever it had no answer for.
    const telling =
      answers.find(({ kind }) => kind === 'blocked') ?? answers.find((answer) => !isUnanswered(answer)) ?? answers[0]
    if (telling !== undefined && unsent === undefined) note(telling)
  }

  const queue = groups.values()
  const lane = async () => {
    for (const indexes of queue) await send(indexes)
  }
  await Promise.all(Array.from({ length: Math.min(parallel, groups.length) }, lane))
  return outcomes.map((outcome) => outcome ?? unanswered('no outcome for this message'))
}
