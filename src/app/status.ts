import { kindOfOwner } from '../core/owner.ts'
import type { QueueCounts, QueueName, Queues } from '../core/queue.ts'
import { messagesIn } from '../delivery/station.ts'
import type { Backlog } from '../queue/capacity.ts'

export interface WorkerStatus {
  readonly name: string
  // Figures are absent where the worker has a queue of its own and that is away.
  /** Messages in envelopes that are not finished, by the ledger: behind by seconds, and at least one for each envelope. */
  readonly waiting?: number
  /** Messages given up and waiting for ingest to take them; likewise. */
  readonly failures?: number
  /** Dead letters. */
  readonly dead?: number
  /** The envelopes, each of which holds up to some hundreds of messages. */
  readonly envelopes?: QueueCounts
  /** What it has in the queue and what it may have, in bytes, estimated; absent while that isn't measured. */
  readonly backlog?: { readonly bytes: number; readonly limit: number; readonly full: boolean }
  /** `idle`, `running`, `blocked: …`, `recovering: …`, `away: …`, `in another process`, or `no file owns it`. */
  readonly state: string
}

/** What `sluice status` shows. */
export interface IngestStatus {
  readonly ready: boolean
  readonly because?: string
  readonly queue: string
  readonly doors: readonly string[]
  readonly bridges: readonly { readonly name: string; readonly state: string }[]
  readonly rules: number
  readonly ruleSet: string
  readonly workers: readonly WorkerStatus[]
}

/** The queues of one owner, counted. */
export async function countOwner(
  queues: Queues,
  name: string,
  state: string,
  backlog?: Backlog,
): Promise<WorkerStatus> {
  const [work, failures, dead] = await Promise.all([
    countQueue(queues, { owner: name, part: 'work' }),
    countQueue(queues, { owner: name, part: 'failures' }),
    queues.counts({ owner: name, part: 'dead' }),
  ])
  const room =
    backlog === undefined ? {} : { backlog: { bytes: backlog.bytes, limit: backlog.limit, full: backlog.full } }
  return {
    name,
    waiting: work.messages,
    failures: failures.messages,
    dead: dead.waiting,
    envelopes: work.envelopes,
    ...room,
    state,
  }
}

/** Counting messages in their jobs would mean to read them all; the totals know them, but for those that left in the last seconds. */
async function countQueue(queues: Queues, queue: QueueName) {
  const [envelopes, totals] = await Promise.all([queues.counts(queue), queues.ledger.totals(queue)])
  const jobs = envelopes.waiting + envelopes.active + envelopes.delayed
  return { envelopes, jobs, messages: jobs === 0 ? 0 : Math.max(jobs, messagesIn(totals)) }
}

export interface Orphan {
  readonly owner: string
  /** Messages in its work and failures queues, and the jobs that hold them. */
  readonly messages: number
  readonly envelopes: number
  /** The worker has a file and a queue of its own, and this lies in the one that all share, where it was before; dead letters count too. */
  readonly left?: true
}

/** Workers that no file owns and whose queue still holds something: nothing takes it, and nothing deletes it. */
export async function orphansOf(queues: Queues, owned: ReadonlySet<string>): Promise<readonly Orphan[]> {
  const found: Orphan[] = []
  for (const owner of await queues.owners()) {
    if (owned.has(owner) || kindOfOwner(owner) !== 'worker') continue
    const [work, failures] = await Promise.all([
      countQueue(queues, { owner, part: 'work' }),
      countQueue(queues, { owner, part: 'failures' }),
    ])
    const envelopes = work.jobs + failures.jobs
    if (envelopes > 0) found.push({ owner, messages: work.messages + failures.messages, envelopes })
  }
  return found
}

/** What lies in the queue that all share of workers that have their own now: nothing takes it until they share it again. */
export async function leftBehind(shared: Queues, workers: Iterable<string>): Promise<readonly Orphan[]> {
  const found: Orphan[] = []
  for (const owner of workers) {
    const parts = await Promise.all(
      (['work', 'failures', 'dead'] as const).map((part) => countQueue(shared, { owner, part })),
    )
    const envelopes = parts.reduce((sum, { jobs }) => sum + jobs, 0)
    const messages = parts.reduce((sum, part) => sum + part.messages, 0)
    if (envelopes > 0) found.push({ owner, messages, envelopes, left: true })
  }
  return found
}
