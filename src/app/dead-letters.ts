import type { ControlPlane, DeadLetterQuery } from '../admin/control.ts'
import type { FailureKind } from '../core/envelope.ts'
import { SluiceError } from '../core/errors.ts'
import type { Delivery, Message } from '../core/message.ts'
import type { Queues } from '../core/queue.ts'
import type { RuleSet } from '../core/rule.ts'
import { createDeadLetterReader, type DeadLetterFilter } from '../delivery/dead-letters.ts'
import { createDeadLetterOperator, type DeadLetterSelection, type DeadLetterStretch } from '../delivery/replay.ts'

export interface DeadLettersOptions {
  readonly queues: Queues
  readonly workers: () => readonly string[]
  readonly rules: () => RuleSet
  readonly enqueue: (message: Message, deliveries: readonly Delivery[], set: string) => Promise<void>
}

const kinds: readonly FailureKind[] = ['rejected', 'exhausted', 'expired', 'crashed', 'evaluation']

/** What the control channel offers for dead letters. */
export function createDeadLetters({
  queues,
  workers,
  rules,
  enqueue,
}: DeadLettersOptions): ControlPlane['deadLetters'] {
  const reader = createDeadLetterReader(queues)
  const operator = createDeadLetterOperator({ queues, reader, workers, rerun })

  /** A message on which a rule had failed, through that rule as it is now. The other rules have had it already. */
  async function rerun(message: Message, rule: string) {
    const set = rules()
    if (!set.rules.some(({ name }) => name === rule)) return { kind: 'gone' } as const
    const outcome = (await set.evaluate(message)).find((found) => found.rule === rule)
    if (outcome?.kind === 'failed') return { kind: 'failed' } as const
    if (outcome?.kind === 'deliveries') await enqueue(message, outcome.deliveries, set.hash)
    return { kind: 'routed' } as const
  }

  return {
    async list(query) {
      const { letters, next } = await reader.list(filterOf(query), stretchOf(query))
      return { letters, more: next !== undefined, ...(next !== undefined && { next }) }
    },
    async show(id) {
      const letter = await reader.show(id)
      if (letter === undefined) throw new SluiceError('WRONG_USE', `there is no dead letter ${id}`)
      return letter
    },
    replay: (query) => operator.replay(selectionOf(query), stretchOf(query)),
    purge: (query) => operator.purge(selectionOf(query), stretchOf(query)),
  }
}

function stretchOf({ limit, from }: DeadLetterQuery): DeadLetterStretch {
  return { ...(limit !== undefined && { limit }), ...(from !== undefined && { from }) }
}

function selectionOf(query: DeadLetterQuery): DeadLetterSelection {
  return query.id === undefined ? filterOf(query) : { ids: [query.id] }
}

function filterOf({ worker, rule, kind }: DeadLetterQuery): DeadLetterFilter {
  const known = kinds.find((name) => name === kind)
  if (kind !== undefined && known === undefined)
    throw new SluiceError('WRONG_USE', `there is no kind "${kind}"; kinds are ${kinds.join(', ')}`)
  return {
    ...(worker !== undefined && { owner: worker }),
    ...(rule !== undefined && { rule }),
    ...(known !== undefined && { kind: known }),
  }
}
