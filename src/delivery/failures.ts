import { envelopeVersion, type Failure, type FailureBatch } from '../core/envelope.ts'
import { messageOf as textOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Delivery, Message } from '../core/message.ts'
import type { Metrics } from '../core/metrics.ts'
import type { Consumer, Handled, Job, Queues } from '../core/queue.ts'
import { kindOfOwner } from '../core/owner.ts'
import { createPacedLog } from '../core/paced-log.ts'
import { admit, endlessRoom, type OnDropped, type Room } from '../core/room.ts'
import type { RuleSet } from '../core/rule.ts'
import { type Fate, sumOfTallies, type Tally, tallyOf } from '../core/tally.ts'
import { messageOf } from './entry-message.ts'
import { deadLetterJob } from './dead-letters.ts'
import { complaintAbout, isFailureBatch } from './readable.ts'

export interface FailureTakerOptions {
  readonly queues: Queues
  /** Workers that a file owns now. Queues that no file owns are found in the store. */
  readonly owners: () => readonly string[]
  /** The rules in force; asked for each failure, because a reload replaces them. */
  readonly rules: () => RuleSet
  /** Resolves when every delivery is durable; rejects with QUEUE_AWAY. */
  readonly enqueue: (message: Message, deliveries: readonly Delivery[], set: string) => Promise<void>
  /** Whether queues may hold more; without it they always may. */
  readonly room?: Room
  readonly onDropped?: OnDropped
  readonly log: Log
  readonly metrics: Metrics
  /** Milliseconds. */
  readonly settings?: {
    /** How often it looks for queues that are new. A worker that has just appeared has time. */
    readonly lookMs?: number
    /** The wait while the queue is away. */
    readonly awayMs?: number
    /** After which a batch that can't be read is looked at again. */
    readonly unreadableMs?: number
  }
}

/** Complaints that are told apart; whoever writes such things must not fill our memory with them. */
const mostComplaints = 100

export interface FailureTaker {
  start(): void
  /** Looks for queues that are new; also done every `lookMs`. Call it after a reload. */
  look(): Promise<void>
  close(deadlineMs: number): Promise<void>
}

/**
 * Takes what workers gave up from their failures queues. A failure becomes what the rule's error actions make of it, or,
 * where there are none, a dead letter of that worker; only when that is durable is it let go. Runs in ingest, which has
 * the rules and may add to every queue; with no ingest running, failures wait.
 */
export function createFailureTaker(options: FailureTakerOptions): FailureTaker {
  const { queues, rules, enqueue, log, metrics, room = endlessRoom, onDropped = () => {} } = options
  const paced = createPacedLog(log)
  const { lookMs = 15_000, awayMs = 2_000, unreadableMs = 600_000 } = options.settings ?? {}
  const consumers = new Map<string, Consumer>()
  const said = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  let closed = false

  return {
    start() {
      if (timer !== undefined || closed) return
      const again = () => void look()
      timer = setInterval(again, lookMs)
      again()
    },
    look,
    async close(deadlineMs) {
      closed = true
      clearInterval(timer)
      await Promise.all([...consumers.values()].map((consumer) => consumer.close(deadlineMs)))
    },
  }

  async function look(): Promise<void> {
    take(options.owners())
    try {
      take(await queues.owners())
    } catch (error) {
      log.debug({ error: textOf(error) }, 'the queues could not be listed')
    }
  }

  function take(owners: readonly string[]): void {
    for (const owner of owners) {
      // The letters of rules and bridges come from ingest itself; there is nobody to give up on them.
      if (closed || consumers.has(owner) || kindOfOwner(owner) !== 'worker') continue
      const queue = { owner, part: 'failures' } as const
      const handler = (job: Job<FailureBatch>) => handle(owner, job)
      consumers.set(owner, queues.consume<FailureBatch>(queue, handler, { concurrency: 1 }))
    }
  }

  async function handle(owner: string, job: Job<FailureBatch>): Promise<Handled<FailureBatch>> {
    if (!isFailureBatch(job.data)) return leave(owner, job)
    const { failures, left = [] } = job.data
    const dead: Failure[] = []
    const handedOn: Failure[] = []
    let taken = 0
    try {
      for (const failure of failures) {
        const list = (await handOn(owner, failure)) ? handedOn : dead
        list.push(failure)
        taken += 1
      }
      await bury(owner, dead)
      return {
        kind: 'done',
        tally: [left, counted(handedOn, 'error-action'), counted(dead, 'dead')].reduce(sumOfTallies),
      }
    } catch (error) {
      // What error actions took is not handed to them twice; what was to be buried is buried then.
      log.warn({ worker: owner, error: textOf(error) }, 'failures wait: the queue takes nothing now')
      const rest = [...dead, ...failures.slice(taken)]
      const data = { v: envelopeVersion, failures: rest, left: sumOfTallies(left, counted(handedOn, 'error-action')) }
      return { kind: 'again', data, afterMs: awayMs }
    }
  }

  /** Whether error actions took it. Throws when the queue is away. */
  async function handOn(owner: string, failure: Failure): Promise<boolean> {
    const { entry } = failure
    // An error action that failed: no further one runs.
    if (entry.error === true) return false
    const set = rules()
    // A worker writes its failures itself, so it could claim those of others: only a rule that sends to it is asked.
    const rule = set.rules.find(({ name }) => name === entry.rule)
    if (rule === undefined || !rule.to.some((action) => action.worker === owner)) return false
    const deliveries = await render(set, { ...failure, worker: owner })
    if (deliveries.length === 0) return false
    // A full worker must not hold up the failures of others: what would go there stays a dead letter where it failed.
    const noRoom = room.complain(deliveries.map(({ worker }) => worker))
    if (noRoom !== undefined) {
      paced.warn(
        `full ${owner}`,
        { worker: owner, rule: entry.rule, reason: noRoom },
        'an error action has no room; the message becomes a dead letter',
      )
      return false
    }
    const { deliveries: going, dropped } = admit(deliveries, room)
    await enqueue(messageOf(entry), going, set.hash)
    for (const drop of dropped) onDropped(drop)
    return true
  }

  async function render(set: RuleSet, failure: Failure): Promise<readonly Delivery[]> {
    try {
      return await set.errorActions(failure)
    } catch (error) {
      const facts = { rule: failure.entry.rule, traceId: failure.entry.id, error: textOf(error) }
      log.error(facts, 'the error actions could not be made; the message becomes a dead letter')
      return []
    }
  }

  /** INVARIANT: the owner is the queue's, never what the failure says of itself. */
  async function bury(owner: string, failures: readonly Failure[]): Promise<void> {
    if (failures.length === 0) return
    const letters = failures.map((failure): Failure => ({ ...failure, worker: owner }))
    const jobs = letters.map((letter) => deadLetterJob(letter))
    await queues.add({ owner, part: 'dead' }, jobs)
    for (const { kind } of letters) metrics.count('sluice_dead_letters_total', { owner, kind })
  }

  function leave(owner: string, job: Job<FailureBatch>): Handled<FailureBatch> {
    const complaint = complaintAbout(job.data)
    const once = `${owner} ${complaint}`
    if (!said.has(once) && said.size < mostComplaints) {
      said.add(once)
      log.error({ worker: owner, job: job.id, complaint }, 'failures cannot be read; they are left')
    }
    return { kind: 'again', data: job.data, afterMs: unreadableMs }
  }
}

function counted(failures: readonly Failure[], what: Fate): Tally {
  return tallyOf(
    failures.map(({ entry }) => entry),
    what,
  )
}
