import type { ControlPlane, DeadLetterQuery } from '../admin/control.ts'
import type { Accepted, Publish } from '../core/access.ts'
import type { Entry, FailureKind } from '../core/envelope.ts'
import { QueueAwayError, SluiceError } from '../core/errors.ts'
import type { Delivery, Message } from '../core/message.ts'
import { kindOfOwner } from '../core/owner.ts'
import type { Queues } from '../core/queue.ts'
import { admit, type OnDropped, type Room } from '../core/room.ts'
import { type RuleSet, unmatchedRule } from '../core/rule.ts'
import { createDeadLetterReader, type DeadLetterFilter } from '../delivery/dead-letters.ts'
import { messageOf } from '../delivery/entry-message.ts'
import { createDeadLetterOperator, type DeadLetterSelection, type DeadLetterStretch } from '../delivery/replay.ts'

export interface DeadLettersOptions {
  readonly queues: Queues
  readonly workers: () => readonly string[]
  readonly rules: () => RuleSet
  /** How a message that a bridge refused is handed in again; undefined where there is no such bridge. */
  readonly bridge: (owner: string) => ((publish: Publish, id: string) => Promise<Accepted>) | undefined
  readonly enqueue: (message: Message, deliveries: readonly Delivery[], set: string) => Promise<void>
  readonly room: Room
  readonly onDropped: OnDropped
}

const kinds: readonly FailureKind[] = ['rejected', 'exhausted', 'expired', 'crashed', 'evaluation', 'refused']

/** What the control channel offers for dead letters. */
export function createDeadLetters({
  queues,
  workers,
  rules,
  enqueue,
  bridge,
  room,
  onDropped,
}: DeadLettersOptions): ControlPlane['deadLetters'] {
  const reader = createDeadLetterReader(queues)
  const operator = createDeadLetterOperator({ queues, reader, workers, rerun })

  function rerun(owner: string, entry: Entry) {
    return kindOfOwner(owner) === 'bridge' ? handInAgain(owner, entry) : throughRule(messageOf(entry), entry.rule)
  }

  /** A message on which a rule had failed, through that rule as it is now. The other rules have had it already. */
  async function throughRule(message: Message, rule: string) {
    const set = rules()
    // What no rule took has no rule of a file, and goes where such messages go now.
    const isUnmatched = rule === unmatchedRule
    if (!isUnmatched && !set.rules.some(({ name }) => name === rule)) return 'gone'
    const outcome = isUnmatched
      ? await set.unmatched(message)
      : (await set.evaluate(message)).find((found) => found.rule === rule)
    if (isUnmatched && outcome === undefined) return 'gone'
    if (outcome?.kind === 'failed') return 'failed'
    // Its age is counted anew: for its workers it is a new message, and it may have been a letter for days.
    if (outcome?.kind === 'deliveries') {
      // Where there is no room for it, it stays what it is.
      if (room.complain(outcome.deliveries.map(({ worker }) => worker)) !== undefined) return 'failed'
      const { deliveries, dropped } = admit(outcome.deliveries, room)
      await enqueue({ ...message, at: Date.now() }, deliveries, set.hash)
      for (const drop of dropped) onDropped(drop)
    }
    return 'routed'
  }

  /** A message that was never let in, as its bridge would hand it in now: whose it is, policies and rules are asked anew. */
  async function handInAgain(owner: string, entry: Entry) {
    const handIn = bridge(owner)
    if (handIn === undefined) return 'gone'
    // It was too large to be kept, and there is nothing to hand in.
    if (entry.in === undefined) return 'failed'
    const { topic, payload, qos, retain, properties } = messageOf(entry)
    const publish = { topic, payload, qos, retain, ...(properties !== undefined && { properties }) }
    const accepted = await handIn(publish, entry.id)
    if (accepted.kind === 'later') throw new QueueAwayError(accepted.message, false)
    return accepted.kind === 'accepted' ? 'routed' : 'failed'
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
