import { type Entry, type Envelope, envelopeVersion, type Failure } from '../core/envelope.ts'
import { kindOfOwner } from '../core/owner.ts'
import type { QueueName, Queues } from '../core/queue.ts'
import { type Fate, tallyOf } from '../core/tally.ts'
import { type DeadLetterFilter, type DeadLetterReader, deadOf, fits, type FoundLetter } from './dead-letters.ts'
import { idOf } from './ids.ts'

/** Some by id, or all that a filter takes. */
export type DeadLetterSelection = { readonly ids: readonly string[] } | DeadLetterFilter

/**
 * What became of a message that goes the way again on which it had failed. `failed`: the rule failed, or the bridge refused it, again;
 * `gone`: there is no such rule or bridge.
 */
export type Rerun = (owner: string, entry: Entry) => Promise<'routed' | 'failed' | 'gone'>

export interface ReplayCounts {
  readonly replayed: number
  /** What failed or was refused again; rules and bridges that are gone; workers that no file owns. Their letters stay. */
  readonly kept: number
  /** Ids that are not there. */
  readonly missing: number
  /** Whether the filter takes more than one call does; call again. */
  readonly more: boolean
  /** Where to go on, where there is more. Its form is nobody's business. */
  readonly next?: string
}

export interface PurgeCounts {
  readonly purged: number
  readonly missing: number
  readonly more: boolean
  readonly next?: string
}

/** How much of a selection one call handles. */
export interface DeadLetterStretch {
  /** Most letters; `maxHandled` at most. */
  readonly limit?: number
  /** `next` of the call before. */
  readonly from?: string
}

export interface DeadLetterOperator {
  replay(selection: DeadLetterSelection, stretch?: DeadLetterStretch): Promise<ReplayCounts>
  purge(selection: DeadLetterSelection, stretch?: DeadLetterStretch): Promise<PurgeCounts>
}

export interface DeadLetterOperatorOptions {
  readonly queues: Queues
  readonly reader: DeadLetterReader
  /** Workers that a file owns: a letter of another would go to a queue that nobody empties. */
  readonly workers: () => readonly string[]
  /**
   * Runs a message through its rule, or hands it in as its bridge would, as both are now; resolves when what came of it is durable.
   * Rejects with QUEUE_AWAY.
   */
  readonly rerun: Rerun
  readonly now?: () => number
  /** After which a call ends at the next step, in milliseconds, so that whoever asks hears how far it is. 3 s. */
  readonly stretchMs?: number
}

/** Most letters that one call handles; the answer says whether there is more. */
export const maxHandled = 10_000

/** Letters per step: also the entries of one envelope (DESIGN §1), whose payload bytes stay under the second figure. */
const stepSize = 256
const stepBytes = 1_048_576

/** Does something with letters of one queue; gives the ids of those that may leave it now, and what the ledger says of them. */
interface Step {
  readonly became: Fate
  run(queue: QueueName, letters: readonly FoundLetter[]): Promise<readonly string[]>
}

interface Walked {
  readonly handled: number
  readonly done: number
  readonly missing: number
  readonly next?: string
}

/** Where a walk goes on: an owner, the cursor of the last letter that stays, and how many are still to be looked at there. */
interface Point {
  readonly owner: string
  readonly from: string | undefined
  readonly left: number | undefined
}

/**
 * Puts dead letters back or throws them away. A letter leaves only after what becomes of it is durable: a death in
 * between means that a message may be delivered twice, never that it is lost.
 */
export function createDeadLetterOperator(options: DeadLetterOperatorOptions): DeadLetterOperator {
  const { queues, reader, workers, rerun, stretchMs = 3_000 } = options
  const now = options.now ?? Date.now

  return {
    async replay(selection, stretch) {
      const { handled, done, missing, next } = await walk(selection, stretch, { became: 'replayed', run: replayStep })
      return { replayed: done, kept: handled - done, missing, ...goOn(next) }
    },
    async purge(selection, stretch) {
      const all: Step = { became: 'purged', run: async (_queue, letters) => letters.map(({ id }) => id) }
      const { done, missing, next } = await walk(selection, stretch, all)
      return { purged: done, missing, ...goOn(next) }
    },
  }

  async function walk(
    selection: DeadLetterSelection,
    { limit = maxHandled, from }: DeadLetterStretch = {},
    step: Step,
  ): Promise<Walked> {
    if ('ids' in selection) return walkIds(selection.ids, step)
    return walkFilter(selection, Math.min(limit, maxHandled), parsePoint(from), step)
  }

  async function walkIds(ids: readonly string[], step: Step): Promise<Walked> {
    let handled = 0
    let done = 0
    let missing = 0
    for (const id of new Set(ids)) {
      const letter = await reader.find(id)
      if (letter === undefined) {
        missing += 1
        continue
      }
      handled += 1
      done += (await take(letter.queue, [letter], step)).size
    }
    return { handled, done, missing }
  }

  async function walkFilter(
    filter: DeadLetterFilter,
    limit: number,
    begin: Point | undefined,
    step: Step,
  ): Promise<Walked> {
    const until = performance.now() + stretchMs
    let handled = 0
    let done = 0
    for (const owner of await reader.owners(filter)) {
      if (begin !== undefined && owner < begin.owner) continue
      const point = owner === begin?.owner ? begin : undefined
      const queue = deadOf(owner)
      let from = point?.from
      // What fails anew while this runs stands behind those that are there now, and is not taken a second time.
      let left = point?.left ?? (await queues.counts(queue)).waiting
      while (left > 0) {
        if (handled >= limit || performance.now() > until)
          return { handled, done, missing: 0, next: `${left}/${from ?? ''}/${owner}` }
        const page = await queues.page<Failure>(queue, from, Math.min(stepSize, left, limit - handled))
        if (page.length === 0) break
        const fitting = page.filter((job) => fits(job, filter)).map(({ id, data }) => ({ queue, id, data }))
        const gone = fitting.length === 0 ? none : await take(queue, fitting, step)
        handled += fitting.length
        done += gone.size
        left -= page.length
        from = page.findLast(({ id }) => !gone.has(id))?.cursor ?? from
      }
    }
    return { handled, done, missing: 0 }
  }

  /** The ids of those that have left. */
  async function take(queue: QueueName, letters: readonly FoundLetter[], step: Step): Promise<ReadonlySet<string>> {
    const gone = await step.run(queue, letters)
    if (gone.length > 0) await queues.remove(queue, gone, step.became)
    return new Set(gone)
  }

  async function replayStep(queue: QueueName, letters: readonly FoundLetter[]): Promise<readonly string[]> {
    const { owner } = queue
    return kindOfOwner(owner) === 'worker' ? replayToWorker(owner, letters) : runAgain(owner, letters)
  }

  async function replayToWorker(worker: string, letters: readonly FoundLetter[]): Promise<readonly string[]> {
    if (!workers().includes(worker)) return []
    const since = now()
    for (const some of cut(letters)) {
      const entries = some.map(({ data }): Entry => ({ ...data.entry, attempts: 0, since }))
      const data: Envelope = { v: envelopeVersion, set: 'replay', entries }
      // The same letters make the same envelope: two who replay them at once deliver them once.
      const id = idOf(
        'r',
        some.map((letter) => letter.id),
      )
      const entering = { tally: tallyOf(entries, 'replayed') }
      await queues.add({ owner: worker, part: 'work' }, [{ id, data, entering }])
    }
    return letters.map(({ id }) => id)
  }

  /** What went through leaves, though another found the queue away: that is told when everything has its answer. */
  async function runAgain(owner: string, letters: readonly FoundLetter[]): Promise<readonly string[]> {
    const settled = await Promise.allSettled(letters.map(({ data }) => rerun(owner, data.entry)))
    const gone = letters.filter((_letter, index) => {
      const result = settled[index]
      return result?.status === 'fulfilled' && result.value === 'routed'
    })
    const failed = settled.find((result) => result.status === 'rejected')
    if (failed === undefined) return gone.map(({ id }) => id)
    if (gone.length > 0)
      await queues.remove(
        deadOf(owner),
        gone.map(({ id }) => id),
        'replayed',
      )
    throw failed.reason
  }
}

const none: ReadonlySet<string> = new Set()

function goOn(next: string | undefined): { readonly more: boolean; readonly next?: string } {
  return next === undefined ? { more: false } : { more: true, next }
}

/** `<left>/<cursor>/<owner>`; anything else begins at the beginning. */
function parsePoint(text = ''): Point | undefined {
  const { left, from = '', owner = '' } = /^(?<left>\d{1,15})\/(?<from>[^/]*)\/(?<owner>.+)$/s.exec(text)?.groups ?? {}
  if (left === undefined) return undefined
  return { owner, from: from === '' ? undefined : from, left: Number(left) }
}

function cut(letters: readonly FoundLetter[]): readonly (readonly FoundLetter[])[] {
  const groups: FoundLetter[][] = [[]]
  let bytes = 0
  for (const letter of letters) {
    const size = JSON.stringify(letter.data.entry).length
    const group = groups.at(-1) ?? []
    if (group.length > 0 && bytes + size > stepBytes) {
      groups.push([letter])
      bytes = size
    } else {
      group.push(letter)
      bytes += size
    }
  }
  return groups
}
