import { type Entry, type Envelope, envelopeVersion, type Failure } from '../core/envelope.ts'
import type { Message } from '../core/message.ts'
import type { QueueName, Queues } from '../core/queue.ts'
import { type DeadLetterFilter, type DeadLetterReader, deadOf, fits, type FoundLetter } from './dead-letters.ts'
import { messageOf } from './entry-message.ts'
import { idOf } from './ids.ts'

/** Some by id, or all that a filter takes. */
export type DeadLetterSelection = { readonly ids: readonly string[] } | DeadLetterFilter

/** What the current rules made of a message that is replayed. `failed`: the rule failed on it again; `gone`: there is no such rule. */
export type Rerun = (message: Message, rule: string) => Promise<{ readonly kind: 'routed' | 'failed' | 'gone' }>

export interface ReplayCounts {
  readonly replayed: number
  /** Rules that failed on their message again, or are gone; workers that no file owns. Their letters stay. */
  readonly kept: number
  /** Ids that are not there. */
  readonly missing: number
  /** Whether the filter takes more than one call does; call again. */
  readonly more: boolean
}

export interface PurgeCounts {
  readonly purged: number
  readonly missing: number
  readonly more: boolean
}

export interface DeadLetterOperator {
  replay(selection: DeadLetterSelection): Promise<ReplayCounts>
  purge(selection: DeadLetterSelection): Promise<PurgeCounts>
}

export interface DeadLetterOperatorOptions {
  readonly queues: Queues
  readonly reader: DeadLetterReader
  /** Workers that a file owns: a letter of another would go to a queue that nobody empties. */
  readonly workers: () => readonly string[]
  /** Runs a message through one rule as it is now; resolves when what came of it is durable. Rejects with QUEUE_AWAY. */
  readonly rerun: Rerun
  readonly now?: () => number
}

/** Most letters that one call handles, so that it ends within a request; the answer says whether there is more. */
export const maxHandled = 10_000

/** Letters per step: also the entries of one envelope (DESIGN §1), whose payload bytes stay under the second figure. */
const stepSize = 256
const stepBytes = 1_048_576

/** Does something with letters of one queue; gives the ids of those that may leave it now. */
type Step = (queue: QueueName, letters: readonly FoundLetter[]) => Promise<readonly string[]>

interface Walked {
  readonly handled: number
  readonly done: number
  readonly missing: number
  readonly more: boolean
}

/**
 * Puts dead letters back or throws them away. A letter leaves only after what becomes of it is durable: a death in
 * between means that a message may be delivered twice, never that it is lost.
 */
export function createDeadLetterOperator(options: DeadLetterOperatorOptions): DeadLetterOperator {
  const { queues, reader, workers, rerun } = options
  const now = options.now ?? Date.now

  return {
    async replay(selection) {
      const { handled, done, missing, more } = await walk(selection, replayStep)
      return { replayed: done, kept: handled - done, missing, more }
    },
    async purge(selection) {
      const { done, missing, more } = await walk(selection, async (_queue, letters) => letters.map(({ id }) => id))
      return { purged: done, missing, more }
    },
  }

  async function walk(selection: DeadLetterSelection, step: Step): Promise<Walked> {
    return 'ids' in selection ? walkIds(selection.ids, step) : walkFilter(selection, step)
  }

  async function walkIds(ids: readonly string[], step: Step): Promise<Walked> {
    let handled = 0
    let done = 0
    let missing = 0
    for (const id of new Set(ids.slice(0, maxHandled))) {
      const letter = await reader.find(id)
      if (letter === undefined) {
        missing += 1
        continue
      }
      handled += 1
      done += await take(letter.queue, [letter], step)
    }
    return { handled, done, missing, more: ids.length > maxHandled }
  }

  async function walkFilter(filter: DeadLetterFilter, step: Step): Promise<Walked> {
    let handled = 0
    let done = 0
    // What fails anew while this runs is not taken a second time.
    const before = Math.min(filter.before ?? Infinity, now())
    for (const owner of await reader.owners(filter)) {
      const queue = deadOf(owner)
      let skip = 0
      for (;;) {
        const page = await queues.peek<Failure>(queue, skip, stepSize)
        if (page.length === 0) break
        const fitting = page.filter((job) => fits(job, { ...filter, before }))
        const letters = fitting.slice(0, maxHandled - handled).map(({ id, data }) => ({ queue, id, data }))
        const taken = letters.length === 0 ? 0 : await take(queue, letters, step)
        handled += letters.length
        done += taken
        if (letters.length < fitting.length) return { handled, done, missing: 0, more: true }
        skip += page.length - taken
      }
    }
    return { handled, done, missing: 0, more: false }
  }

  async function take(queue: QueueName, letters: readonly FoundLetter[], step: Step): Promise<number> {
    const gone = await step(queue, letters)
    if (gone.length > 0) await queues.remove(queue, gone)
    return gone.length
  }

  async function replayStep(queue: QueueName, letters: readonly FoundLetter[]): Promise<readonly string[]> {
    return queue.owner.startsWith('rule:') ? replayThroughRules(letters) : replayToWorker(queue.owner, letters)
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
      await queues.add({ owner: worker, part: 'work' }, [{ id, data }])
    }
    return letters.map(({ id }) => id)
  }

  async function replayThroughRules(letters: readonly FoundLetter[]): Promise<readonly string[]> {
    const gone: string[] = []
    for (const { id, data } of letters) {
      const { kind } = await rerun(messageOf(data.entry), data.entry.rule)
      if (kind === 'routed') gone.push(id)
    }
    return gone
  }
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
