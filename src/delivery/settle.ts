import type { LeavingEntry, LedgerStore, TotalLine } from '../core/ledger.ts'
import { parsedJson } from '../core/parsed-json.ts'
import type { QueueName } from '../core/queue.ts'
import { readTally, type Tally, Tallying } from '../core/tally.ts'

export interface SettleOptions {
  readonly ledger: LedgerStore
  /** When the ledger was begun, in milliseconds since 1970: a job that is older had no way to be entered. */
  readonly since: number
  /** About the most entries of one call; there is always a next one. */
  readonly most: number
  /** Entries of jobs that went without a word which are kept one by one. 10,000, about 3 MB: whatever ends jobs so may do it for ever. */
  readonly mostLost?: number
}

/** Entries of one step: its script holds up Redis for a third of a millisecond. */
const pageSize = 200

/** Jobs of a queue that are named for what is wrong with them. Beyond that they are counted. */
const mostNamed = 100

/**
 * Adds what became of the jobs that are gone to the totals, and takes their entries out of the ledger. May be run by several at
 * once, and be broken off anywhere: each entry is settled once.
 */
export async function settleQueue(queue: QueueName, options: SettleOptions): Promise<number> {
  const { ledger, since, most, mostLost = 10_000 } = options
  const { jobs, entries: open } = await ledger.census(queue)
  if (open - jobs > mostLost + most) await tellLost(queue, ledger, most)
  let settled = 0
  let from: string | undefined = ''
  while (from !== undefined && settled < most) {
    const page: Awaited<ReturnType<LedgerStore['leaving']>> = await ledger.leaving(queue, from, pageSize)
    // The store may give one twice.
    const gone = new Map(page.entries.filter(({ isThere }) => !isThere).map((entry) => [entry.id, entry]))
    const known = [...gone.values()].filter(({ leaving, entry }) => outcomeOf(leaving, entry) !== undefined)
    for (let start = 0; start < known.length; start += pageSize) {
      const some = known.slice(start, start + pageSize)
      const sums = await sumsOf(queue, some)
      if (await ledger.settle(queue, some, sums)) settled += some.length
    }
    from = page.next
  }
  return settled

  async function sumsOf(of: QueueName, entries: readonly LeavingEntry[]): Promise<readonly TotalLine[]> {
    const came = new Tallying()
    const went = new Tallying()
    const wrong: TotalLine[] = []
    for (const { id, leaving, entry } of entries) {
      const outcome = outcomeOf(leaving, entry) ?? { tally: [], at: 0 }
      const { tally, at } = outcome
      went.addAll(tally)
      const entered = entryOf(entry)
      if (entered !== undefined) wrong.push(...differencesOf(id, entered, tally))
      else if (at < since) for (const [rule, , messages] of tally) came.add(rule, 'before', messages)
      else
        wrong.push(...tally.map(([rule, , messages]): TotalLine => ({ side: 'unentered', rule, what: id, messages })))
    }
    const lines = (side: 'in' | 'out', tally: Tally) =>
      tally.map(([rule, what, messages]): TotalLine => ({ side, rule, what, messages }))
    return [...lines('in', came.lines()), ...lines('out', went.lines()), ...(await named(of, wrong))]
  }

  async function named(of: QueueName, wrong: readonly TotalLine[]): Promise<readonly TotalLine[]> {
    if (wrong.length === 0) return wrong
    const { lines } = await ledger.totals(of)
    const free = mostNamed - lines.filter(({ side }) => side !== 'in' && side !== 'out').length
    return wrong.map((line, index) => (index < free ? line : { ...line, what: '…' }))
  }
}

/**
 * Says of jobs that went without a word that nothing became of their messages: settled like others they count as short, and take no
 * room. The oldest first, and as many entries as may be looked at in one call.
 */
async function tellLost(queue: QueueName, ledger: LedgerStore, most: number): Promise<void> {
  let after = 0
  for (let looked = 0; looked < most; looked += pageSize) {
    const page = await ledger.open(queue, after, pageSize)
    const last = page.at(-1)
    if (last === undefined) return
    after = last.number
    const ids = page.map(({ id }) => id)
    // In this order: what becomes of a job is written before it goes.
    const there = await ledger.jobs(queue, ids, false)
    const gone = ids.filter((id) => !there.has(id))
    const told = await ledger.left(queue, gone)
    const lost = gone.filter((id) => !told.has(id))
    await ledger.leave(
      queue,
      lost.map((id) => ({ id, leaving: { tally: [], at: 0 } })),
    )
  }
}

/** What an entry of the store says that a job brought in; undefined where there is none. */
function entryOf(entry: string | undefined): Tally | undefined {
  return entry === undefined ? undefined : readTally(parsedJson(entry.slice(entry.indexOf(':') + 1)))
}

/**
 * What was written of a job that left: so many of each fate, and when it was added. Undefined where that can't be read: such an entry
 * stays, and shows as lost.
 */
export function outcomeOf(
  leaving: string,
  entry: string | undefined,
): { readonly tally: Tally; readonly at: number } | undefined {
  const said = parsedJson(leaving)
  if (typeof said !== 'object' || said === null) return undefined
  const { all, tally, at } = said as { readonly all?: unknown; readonly tally?: unknown; readonly at?: unknown }
  if (typeof all === 'string') {
    const entered = new Tallying()
    for (const [rule, , messages] of entryOf(entry) ?? []) entered.add(rule, all, messages)
    return { tally: entered.lines(), at: 0 }
  }
  const read = readTally(tally)
  return read === undefined ? undefined : { tally: read, at: typeof at === 'number' ? at : 0 }
}

/** Rules of which more, or fewer, messages left with a job than it had brought in. */
export function differencesOf(id: string, entered: Tally, left: Tally): readonly TotalLine[] {
  const came = new Tallying().addAll(entered)
  const went = new Tallying().addAll(left)
  return [...new Set([...came.rules(), ...went.rules()])].flatMap((rule): TotalLine[] => {
    const missing = came.of(rule) - went.of(rule)
    if (missing === 0) return []
    return [{ side: missing > 0 ? 'short' : 'over', rule, what: id, messages: Math.abs(missing) }]
  })
}
