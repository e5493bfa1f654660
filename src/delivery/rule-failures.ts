import { envelopeVersion, type Failure } from '../core/envelope.ts'
import { messageOf as textOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Message } from '../core/message.ts'
import type { Metrics } from '../core/metrics.ts'
import type { Queues } from '../core/queue.ts'
import { deadLetterJob } from './dead-letters.ts'
import { entryOfMessage } from './entry-message.ts'
import { newDeadLetterId } from './ids.ts'
import { reasonOf } from './text.ts'

/** A dead letter on its way to the queue. */
export interface DeadLetterJob {
  /** Whose it is: `rule:<name>` for a rule that failed. */
  readonly owner: string
  readonly id: string
  readonly data: Failure
}

/** The dead letter of a message on which a rule failed: it holds the original bytes, and *replay* runs it through the current rules. */
export function deadLetterOfRuleFailure(message: Message, rule: string, reason: string): DeadLetterJob {
  const at = Date.now()
  const said = reasonOf(reason, (text) => text)
  const entry = { ...entryOfMessage(message, rule), errors: [{ at, reason: said }] }
  return {
    owner: `rule:${rule}`,
    id: newDeadLetterId(),
    data: { v: envelopeVersion, kind: 'evaluation', reason: said, at, entry },
  }
}

export interface RuleFailureKeeperOptions {
  readonly queues: Queues
  /** Dead letters kept for a rule; the oldest beyond are dropped and counted. A rule that fails on everything must not fill the store. */
  readonly max?: number
  readonly log: Log
  readonly metrics: Metrics
}

/** Keeps messages on which rules failed. */
export interface RuleFailureKeeper {
  /** Resolves when the message is durable among the rule's dead letters; rejects with QUEUE_AWAY. */
  keep(message: Message, rule: string, reason: string): Promise<void>
}

interface Waiting {
  readonly job: DeadLetterJob
  resolve(): void
  reject(error: unknown): void
}

/** How many letters go in with one add. */
const most = 100

/**
 * Adds dead letters of failing rules: what arrives while an add is on its way goes in with the next (a rule that fails on
 * every message is as busy as ingest). Every hundredth of `max` letters the count is looked at.
 */
export function createRuleFailureKeeper({
  queues,
  max = 10_000,
  log,
  metrics,
}: RuleFailureKeeperOptions): RuleFailureKeeper {
  const waiting = new Map<string, Waiting[]>()
  const sinceCount = new Map<string, number>()

  return {
    keep(message, rule, reason) {
      const job = deadLetterOfRuleFailure(message, rule, reason)
      return new Promise((resolve, reject) => {
        const line = waiting.get(job.owner)
        if (line !== undefined) return void line.push({ job, resolve, reject })
        waiting.set(job.owner, [{ job, resolve, reject }])
        void drain(job.owner)
      })
    },
  }

  async function drain(owner: string): Promise<void> {
    const line = waiting.get(owner) ?? []
    while (line.length > 0) await addSome(owner, line.splice(0, most))
    // INVARIANT: nothing waits between the last look at the line and this, so nobody is left in it.
    waiting.delete(owner)
  }

  async function addSome(owner: string, some: readonly Waiting[]): Promise<void> {
    try {
      await queues.add(
        { owner, part: 'dead' },
        some.map(({ job }) => deadLetterJob(job.data, job.id)),
      )
    } catch (error) {
      for (const one of some) one.reject(error)
      return
    }
    for (const one of some) one.resolve()
    metrics.count('sluice_dead_letters_total', { owner, kind: 'evaluation' }, some.length)
    const uncounted = (sinceCount.get(owner) ?? max) + some.length
    sinceCount.set(owner, uncounted)
    if (uncounted < max / 100) return
    sinceCount.set(owner, 0)
    await trim(owner).catch((error: unknown) => log.debug({ owner, error: textOf(error) }, 'dead letters not counted'))
  }

  async function trim(owner: string): Promise<void> {
    const queue = { owner, part: 'dead' } as const
    const over = (await queues.counts(queue)).waiting - max
    if (over <= 0) return
    const oldest = await queues.peek(queue, 0, over)
    const dropped = await queues.remove(
      queue,
      oldest.map(({ id }) => id),
      'dropped:oldest',
    )
    metrics.count('sluice_dead_letters_dropped_total', { owner }, dropped)
    log.warn({ owner, dropped, max }, 'the oldest dead letters of this rule were dropped: it keeps no more than this')
  }
}
