import { kindOfOwner } from '../core/owner.ts'
import type { Queues } from '../core/queue.ts'
import type { Backlog } from '../queue/capacity.ts'

export interface WorkerStatus {
  readonly name: string
  /** Envelopes, not messages. */
  readonly waiting: number
  readonly active: number
  readonly delayed: number
  readonly failures: number
  readonly dead: number
  /** What it has in the queue and what it may have, in bytes, estimated; absent while that isn't measured. */
  readonly backlog?: { readonly bytes: number; readonly limit: number; readonly full: boolean }
  /** `idle`, `running`, `blocked: …`, `in another process`, or `no file owns it`. */
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
    queues.counts({ owner: name, part: 'work' }),
    queues.counts({ owner: name, part: 'failures' }),
    queues.counts({ owner: name, part: 'dead' }),
  ])
  const { waiting, active, delayed } = work
  return {
    name,
    waiting,
    active,
    delayed,
    failures: failures.waiting + failures.active + failures.delayed,
    dead: dead.waiting,
    ...(backlog !== undefined && { backlog: { bytes: backlog.bytes, limit: backlog.limit, full: backlog.full } }),
    state,
  }
}

export interface Orphan {
  readonly owner: string
  /** Envelopes in its work and failures queues. */
  readonly messages: number
}

/** Workers that no file owns and whose queue still holds something: nothing takes it, and nothing deletes it. */
export async function orphansOf(queues: Queues, owned: ReadonlySet<string>): Promise<readonly Orphan[]> {
  const found: Orphan[] = []
  for (const owner of await queues.owners()) {
    if (owned.has(owner) || kindOfOwner(owner) !== 'worker') continue
    const [work, failures] = await Promise.all([
      queues.counts({ owner, part: 'work' }),
      queues.counts({ owner, part: 'failures' }),
    ])
    const messages = [work, failures].reduce((sum, { waiting, active, delayed }) => sum + waiting + active + delayed, 0)
    if (messages > 0) found.push({ owner, messages })
  }
  return found
}
