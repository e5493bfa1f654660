import { messageOf, QueueAwayError, SluiceError } from '../core/errors.ts'
import type { LedgerStore } from '../core/ledger.ts'
import type { QueueName, Queues, QueueSize } from '../core/queue.ts'
import { WatchedAdds } from './watched-adds.ts'

/** Queues of which some owners have a store of their own. */
export interface DividedQueues extends Queues {
  /** Where all others are. */
  readonly shared: Queues
  /** The store of each owner that has one of its own. */
  readonly own: ReadonlyMap<string, Queues>
  /** Where the queues of an owner are. */
  of(owner: string): Queues
  /** Why nothing can be added for an owner with a store of its own, as far as that is known without asking; undefined for all others. */
  troubleOf(owner: string): string | undefined
}

/**
 * Makes one of several: what is an owner's goes to its own store where it has one, everything else to the shared one, which alone decides
 * whether the whole is away. What fails in an own store says whose it is. Closes all of them.
 */
export function createDividedQueues(shared: Queues, own: ReadonlyMap<string, Queues>): DividedQueues {
  const adds = new Map([...own].map(([owner, queues]) => [owner, new WatchedAdds(queues)]))
  const of = (owner: string): Queues => own.get(owner) ?? shared

  return {
    shared,
    own,
    of,
    troubleOf(owner) {
      const trouble = adds.get(owner)?.trouble
      return trouble === undefined ? undefined : `${nameOf(owner)} is away: ${trouble}`
    },
    kind: shared.kind,
    durability: shared.durability,
    get describe() {
      return [shared.describe, ...[...own].map(([owner, { describe }]) => `${nameOf(owner)}: ${describe}`)].join('; ')
    },
    get trouble() {
      return shared.trouble
    },
    store: shared.store,
    ledger: dividedLedger(shared, own),
    add(queue, jobs) {
      const watched = adds.get(queue.owner)
      return watched === undefined ? shared.add(queue, jobs) : named(queue, () => watched.add(queue, jobs))
    },
    consume: (queue, handler, options) => of(queue.owner).consume(queue, handler, options),
    counts: (queue) => named(queue, () => of(queue.owner).counts(queue)),
    peek: (queue, start, count) => named(queue, () => of(queue.owner).peek(queue, start, count)),
    page: (queue, from, count) => named(queue, () => of(queue.owner).page(queue, from, count)),
    get: (queue, id) => named(queue, () => of(queue.owner).get(queue, id)),
    remove: (queue, ids, became) => named(queue, () => of(queue.owner).remove(queue, ids, became)),
    // An own store has the queues of its owner, whether they hold something or not; so nobody has to ask it.
    owners: async () => [...new Set([...(await shared.owners()), ...own.keys()])],
    async sizes(owners, parts) {
      const common = owners.filter((owner) => !own.has(owner))
      const single = owners.filter((owner) => own.has(owner))
      const found = await Promise.all([
        common.length === 0 ? new Map<string, QueueSize>() : shared.sizes(common, parts),
        ...single.map((owner) => named({ owner }, () => of(owner).sizes([owner], parts))),
      ])
      return new Map(found.flatMap((sizes) => [...sizes]))
    },
    room: () => shared.room(),
    memo: (owner) => of(owner).memo(owner),
    ping: () => shared.ping(),
    async close() {
      for (const watched of adds.values()) watched.close()
      await Promise.all([shared, ...own.values()].map((queues) => queues.close()))
    },
  }

  function named<T>({ owner }: Pick<QueueName, 'owner'>, ask: () => Promise<T>): Promise<T> {
    return own.has(owner) ? asked(owner, ask) : ask()
  }
}

function dividedLedger(shared: Queues, own: ReadonlyMap<string, Queues>): LedgerStore {
  const within = <T>({ owner }: QueueName, ask: (ledger: LedgerStore) => Promise<T>): Promise<T> => {
    const queues = own.get(owner)
    return queues === undefined ? ask(shared.ledger) : asked(owner, () => ask(queues.ledger))
  }
  return {
    enter: (queue, jobs) => within(queue, (ledger) => ledger.enter(queue, jobs)),
    leave: (queue, leaving, only) => within(queue, (ledger) => ledger.leave(queue, leaving, only)),
    totals: (queue) => within(queue, (ledger) => ledger.totals(queue)),
    census: (queue) => within(queue, (ledger) => ledger.census(queue)),
    open: (queue, after, limit) => within(queue, (ledger) => ledger.open(queue, after, limit)),
    leaving: (queue, from, limit) => within(queue, (ledger) => ledger.leaving(queue, from, limit)),
    left: (queue, ids) => within(queue, (ledger) => ledger.left(queue, ids)),
    settle: (queue, entries, sums) => within(queue, (ledger) => ledger.settle(queue, entries, sums)),
    count: (queue, sums) => within(queue, (ledger) => ledger.count(queue, sums)),
    jobs: (queue, ids, withData) => within(queue, (ledger) => ledger.jobs(queue, ids, withData)),
  }
}

async function asked<T>(owner: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error
    const message = `${nameOf(owner)}: ${messageOf(error)}`
    if (error instanceof QueueAwayError) throw new QueueAwayError(message, error.inDoubt, { cause: error })
    throw new SluiceError(error.code, message, { cause: error })
  }
}

function nameOf(owner: string): string {
  return `the queue of worker ${owner}`
}
