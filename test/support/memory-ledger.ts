import type { Entering, LeavingEntry, LedgerStore, OpenEntry, TotalLine } from '../../src/core/ledger.ts'
import type { QueueName } from '../../src/core/queue.ts'
import type { Tally } from '../../src/core/tally.ts'

interface Books {
  lastNumber: number
  readonly entries: Map<string, { readonly number: number; readonly tally: Tally }>
  readonly leaving: Map<string, string>
  readonly lines: TotalLine[]
  readonly series: Map<string, number>
}

/** A double of the ledger, and what the queues tell it when a job is added. */
export interface MemoryLedger extends LedgerStore {
  added(queue: QueueName, id: string, entering: Entering): void
}

/** `jobsOf`: the text of every job of a queue by its id. */
export function createMemoryLedger(
  shared: Map<string, Books>,
  jobsOf: (queue: QueueName) => ReadonlyMap<string, { readonly text: string }>,
  reach: () => Promise<void>,
): MemoryLedger {
  const booksOf = ({ owner, part }: QueueName): Books => {
    const key = `${owner}/${part}`
    const books = shared.get(key) ?? {
      lastNumber: 0,
      entries: new Map(),
      leaving: new Map(),
      lines: [],
      series: new Map(),
    }
    shared.set(key, books)
    return books
  }
  const textOf = (entry: { readonly number: number; readonly tally: Tally } | undefined) =>
    entry === undefined ? undefined : `${entry.number}:${JSON.stringify(entry.tally)}`

  const added: MemoryLedger['added'] = (queue, id, { tally, numbers }) => {
    const books = booksOf(queue)
    if (books.entries.has(id)) return
    books.entries.set(id, { number: (books.lastNumber += 1), tally })
    for (const [rule, what, messages] of tally) books.lines.push({ side: 'in', rule, what, messages })
    for (const [rule, first, last] of numbers?.ranges ?? []) {
      const key = JSON.stringify([numbers?.series, rule])
      const following = books.series.get(key) ?? 0
      const twice = Math.min(following, last + 1) - first
      if (twice > 0) books.lines.push({ side: 'twice', rule, what: id, messages: twice })
      books.series.set(key, Math.max(following, last + 1))
    }
  }

  return {
    added,
    async enter(queue, jobs) {
      await reach()
      for (const { id, entering } of jobs) if (jobsOf(queue).has(id)) added(queue, id, entering)
    },
    async leave(queue, leaving) {
      await reach()
      for (const each of leaving) booksOf(queue).leaving.set(each.id, JSON.stringify(each.leaving))
    },
    async totals(queue) {
      await reach()
      return { lines: [...booksOf(queue).lines], lastNumber: booksOf(queue).lastNumber }
    },
    async census(queue) {
      await reach()
      return { jobs: jobsOf(queue).size, entries: booksOf(queue).entries.size }
    },
    async open(queue, after, limit) {
      await reach()
      const all = [...booksOf(queue).entries].map(([id, entry]): OpenEntry => ({ id, ...entry }))
      return all.filter(({ number }) => number > after).slice(0, limit)
    },
    async leaving(queue, from, limit) {
      await reach()
      const { entries, leaving } = booksOf(queue)
      const ids = [...leaving.keys()].sort().filter((id) => id > from)
      const page = ids.slice(0, limit).map((id): LeavingEntry => {
        return { id, leaving: leaving.get(id) ?? '', entry: textOf(entries.get(id)), isThere: jobsOf(queue).has(id) }
      })
      return { entries: page, ...(ids.length > limit && { next: page.at(-1)?.id ?? '' }) }
    },
    async left(queue, ids) {
      await reach()
      const { leaving } = booksOf(queue)
      return new Map(ids.flatMap((id) => (leaving.has(id) ? [[id, leaving.get(id) ?? ''] as const] : [])))
    },
    async settle(queue, settled, sums) {
      await reach()
      const { entries, leaving, lines } = booksOf(queue)
      for (const { id, entry, leaving: text } of settled) {
        if (jobsOf(queue).has(id) || textOf(entries.get(id)) !== entry || (leaving.get(id) ?? '') !== text) return false
      }
      for (const { id } of settled) {
        entries.delete(id)
        leaving.delete(id)
      }
      lines.push(...sums)
      return true
    },
    async count(queue, sums) {
      await reach()
      booksOf(queue).lines.push(...sums)
    },
    async jobs(queue, ids, withData) {
      await reach()
      return new Map(
        ids.flatMap((id) => {
          const job = jobsOf(queue).get(id)
          return job === undefined ? [] : [[id, withData ? JSON.parse(job.text) : null] as const]
        }),
      )
    },
  }
}

export type { Books as MemoryBooks }
