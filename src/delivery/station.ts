import type { Entering, LedgerStore, LedgerTotals, OpenEntry, TotalLine } from '../core/ledger.ts'
import type { QueueName } from '../core/queue.ts'
import { type Tally, Tallying } from '../core/tally.ts'
import { isEnvelope, isFailure, isFailureBatch } from './readable.ts'
import { differencesOf, outcomeOf } from './settle.ts'

/** What the ledger misses: a job, or something about it. */
export interface LedgerProblem {
  /**
   * `lost`: entered, and neither there nor anything said of it. `twice`, `unentered`, `short`, `over`: see core/ledger.ts.
   * `stray`: there, and never entered (counted in jobs). `not-handed-over`: it left for the next queue and was not entered there.
   */
  readonly kind: 'lost' | 'twice' | 'unentered' | 'short' | 'over' | 'stray' | 'not-handed-over'
  readonly owner: string
  readonly part: QueueName['part']
  /** Absent where it isn't known. */
  readonly rule?: string
  /** The job; absent where it isn't known. */
  readonly job?: string
  /** Messages; of strays, jobs. */
  readonly count: number
}

/** One queue as the ledger finds it. */
export interface Station {
  /** By rule: how messages came, without what was entered twice. */
  readonly came: Tallying
  /** By rule: what became of them, those of jobs that are still there included. */
  readonly went: Tallying
  /** By rule: what is in the queue now, found there. */
  readonly pending: Tallying
  readonly problems: readonly LedgerProblem[]
}

/** Entries looked at together; with the data of their jobs, of which each may have a megabyte or more. */
const pageSize = 500
const dataPageSize = 16
/** Problems of a queue that are named. */
const mostNamed = 1_000

/**
 * Looks at one queue: its totals, and at each open entry what its job holds now, or what was written of it. While it looks nothing
 * may be settled: then totals and entries belong together however busy the queue is, since what is added meanwhile has a higher
 * number, and what leaves stays an open entry.
 */
export async function lookAt(queue: QueueName, ledger: LedgerStore, keepHold: () => Promise<void>): Promise<Station> {
  const { lines, lastNumber } = await ledger.totals(queue)
  const { came, went, problems } = readTotals(queue, lines)
  const pending = new Tallying()
  const looksInside = queue.part !== 'dead'
  let gone = 0
  let lost = 0
  let after = 0
  for (;;) {
    await keepHold()
    const page = (await ledger.open(queue, after, pageSize)).filter(({ number }) => number <= lastNumber)
    const last = page.at(-1)
    if (last === undefined) break
    after = last.number
    const step = looksInside ? dataPageSize : pageSize
    for (let start = 0; start < page.length; start += step) await lookAtEntries(page.slice(start, start + step))
  }
  problems.push(...(await strays()))
  return { came, went, pending, problems }

  async function lookAtEntries(entries: readonly OpenEntry[]): Promise<void> {
    const ids = entries.map(({ id }) => id)
    // In this order: what becomes of a job is written before it goes.
    const jobs = await ledger.jobs(queue, ids, looksInside)
    const left = await ledger.left(
      queue,
      ids.filter((id) => !jobs.has(id)),
    )
    for (const entry of entries) {
      if (jobs.has(entry.id)) lookInside(entry, jobs.get(entry.id))
      else lookAfter(entry, left.get(entry.id))
    }
  }

  function lookInside({ id, tally }: OpenEntry, data: unknown): void {
    const inside = insideOf(data)
    if (inside === undefined) return void pending.addAll(asPending(tally))
    pending.addAll(inside.pending)
    went.addAll(inside.left)
    note(differencesOf(id, tally, [...inside.pending, ...inside.left]))
  }

  function lookAfter({ id, tally }: OpenEntry, written: string | undefined): void {
    const outcome = written === undefined ? undefined : outcomeOf(written, `:${JSON.stringify(tally)}`)
    if (outcome === undefined) {
      lost += 1
      for (const [rule, , messages] of tally) problem({ kind: 'lost', rule, job: id, count: messages })
      return
    }
    gone += 1
    went.addAll(outcome.tally)
    note(differencesOf(id, tally, outcome.tally))
  }

  function note(differences: readonly TotalLine[]): void {
    for (const { side, rule, what, messages } of differences)
      if (side === 'short' || side === 'over') problem({ kind: side, rule, job: what, count: messages })
  }

  function problem(found: Omit<LedgerProblem, 'owner' | 'part'>): void {
    if (problems.length < mostNamed) problems.push({ ...queue, ...found })
  }

  /** Jobs that were never entered: at least so many, since of those that left meanwhile some may be counted as entries only. */
  async function strays(): Promise<readonly LedgerProblem[]> {
    const { jobs, entries } = await ledger.census(queue)
    const count = jobs - (entries - lost - gone)
    return count > 0 ? [{ ...queue, kind: 'stray', count }] : []
  }
}

function readTotals(queue: QueueName, lines: readonly TotalLine[]) {
  const came = new Tallying()
  const went = new Tallying()
  const problems: LedgerProblem[] = []
  for (const { side, rule, what, messages } of lines) {
    if (side === 'in') came.add(rule, what, messages)
    else if (side === 'out') went.add(rule, what, messages)
    else problems.push({ ...queue, kind: side, rule, count: messages, ...(what !== '…' && { job: what }) })
    // What was entered twice was accepted once.
    if (side === 'twice') came.add(rule, 'accepted', -messages)
  }
  return { came, went, problems }
}

/** How messages have come into a queue by now, of all rules. */
export async function arrivalsIn(queue: QueueName, ledger: LedgerStore): Promise<Tallying> {
  return readTotals(queue, (await ledger.totals(queue)).lines).came
}

/** Messages that came into a queue and have not left it, by its totals alone: cheap, and behind by what isn't settled yet. */
export function messagesIn({ lines }: LedgerTotals): number {
  let messages = 0
  for (const line of lines) {
    if (line.side === 'in') messages += line.messages
    else if (line.side === 'out') messages -= line.messages
  }
  return Math.max(0, messages)
}

/** How a job that was never entered is entered: with all that it holds. Undefined where it can't be read. */
export function foundIn(data: unknown): Entering | undefined {
  const held = isFailure(data) ? pendingOf([data.entry]) : insideOf(data)?.pending
  return held === undefined ? undefined : { tally: held.map(([rule, , messages]) => [rule, 'before', messages]) }
}

/** What a job of a work or failures queue holds, and what has left it; undefined where it can't be read. */
function insideOf(data: unknown): { readonly pending: Tally; readonly left: Tally } | undefined {
  if (isEnvelope(data)) return { pending: pendingOf(data.entries), left: data.left ?? [] }
  if (!isFailureBatch(data)) return undefined
  return { pending: pendingOf(data.failures.map(({ entry }) => entry)), left: data.left ?? [] }
}

function pendingOf(entries: readonly { readonly rule: string }[]): Tally {
  const tallying = new Tallying()
  for (const { rule } of entries) tallying.add(rule, 'pending')
  return tallying.lines()
}

function asPending(tally: Tally): Tally {
  return tally.map(([rule, , messages]) => [rule, 'pending', messages])
}
