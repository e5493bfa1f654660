import { backlogPolicy } from '../config/backlog-schema.ts'
import type { SluiceSettings } from '../config/sluice-schema.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import { kindOfOwner } from '../core/owner.ts'
import type { Queues } from '../core/queue.ts'
import type { BacklogPolicy, OnDropped } from '../core/room.ts'
import { Tallying } from '../core/tally.ts'
import type { WorkerDefinition } from '../core/worker.ts'
import { startKeeping } from '../delivery/keep.ts'
import { Capacity } from '../queue/capacity.ts'
import type { DividedQueues } from '../queue/divided.ts'
import { DividedRoom } from '../queue/divided-room.ts'
import type { Lifecycle } from './lifecycle.ts'

export interface BacklogsOptions {
  readonly queues: DividedQueues
  readonly settings: Pick<SluiceSettings, 'backlog' | 'queue'>
  /** The workers that files own now, by name. */
  readonly workers: () => ReadonlyMap<string, WorkerDefinition>
  readonly log: Log
  readonly metrics: Metrics
  readonly lifecycle: Lifecycle
}

/** How often what never came in is written into the ledger. */
const bookMs = 1_000

/** Where what is let fall is counted, whoever does it. What it held is in the ledger by the removal itself. */
export function dropCounter(metrics: Metrics): OnDropped {
  return ({ owner, reason, entries }) =>
    metrics.count('sluice_messages_dropped_total', { owner, reason }, entries.length)
}

/** Bounds what lies in the queues, for ingest: measures it, and drops dead letters where the configuration says so. */
export async function openBacklogs(options: BacklogsOptions): Promise<{
  readonly room: DividedRoom
  /** For what is let fall before it comes into a queue (`whenFull: drop-newest`). */
  readonly onDropped: OnDropped
}> {
  const { queues, settings, workers, log, metrics, lifecycle } = options
  const policyOf = (owner: string): BacklogPolicy => backlogPolicy(settings.backlog, workers().get(owner))
  const { shared, own } = queues
  const common = new Capacity({
    queues: {
      sizes: (owners, parts) => shared.sizes(owners, parts),
      room: () => shared.room(),
      owners: async () => withoutOwn(await shared.owners()),
    },
    owners: () => withoutOwn([...workers().keys()]),
    policyOf,
    ...(settings.queue.size !== undefined && { size: settings.queue.size }),
    log,
    metrics,
  })
  const single = new Map([...own].map(([owner, store]) => [owner, capacityOfOne(owner, store)]))
  lifecycle.add('backlogs', async () => [common, ...single.values()].forEach((capacity) => capacity.close()))
  for (const capacity of single.values()) void capacity.start()
  await common.start()
  const room = new DividedRoom(common, single, (owner) => queues.troubleOf(owner))
  const count = dropCounter(metrics)
  const stopKeeping = startKeeping({
    queues,
    policyOf,
    overBy: (owner) => room.overBy(owner),
    onDropped: count,
    log,
  })
  lifecycle.add('dead letters', async () => stopKeeping())
  const book = new DropBook(queues, log)
  lifecycle.add('dropped messages', () => book.close())
  return { room, onDropped: (dropped) => (count(dropped), book.add(dropped)) }

  function withoutOwn(owners: readonly string[]): readonly string[] {
    return owners.filter((owner) => !own.has(owner))
  }

  /** Nobody else is in there, so nobody else is looked for. */
  function capacityOfOne(owner: string, store: Queues): Capacity {
    const size = workers().get(owner)?.queue?.size
    return new Capacity({
      queues: {
        sizes: (owners, parts) => store.sizes(owners, parts),
        room: () => store.room(),
        owners: async () => [],
      },
      owners: () => [owner],
      policyOf,
      ...(size !== undefined && { size }),
      name: `the queue of worker ${owner}`,
      log: log.with({ worker: owner }),
      metrics,
    })
  }
}

/**
 * Writes messages that were acknowledged and never queued into the ledger, as accepted and as dropped, in sums: it closes whatever
 * becomes of a sum, so the last second of a process that dies may be missing.
 */
class DropBook {
  readonly #queues: Pick<Queues, 'ledger'>
  readonly #log: Log
  readonly #owners = new Map<string, Tallying>()
  #timer: NodeJS.Timeout | undefined

  constructor(queues: Pick<Queues, 'ledger'>, log: Log) {
    this.#queues = queues
    this.#log = log
  }

  add({ owner, reason, entries }: Parameters<OnDropped>[0]): void {
    const tallying = this.#owners.get(owner) ?? new Tallying()
    this.#owners.set(owner, tallying)
    for (const { rule } of entries) tallying.add(rule, `dropped:${reason}`)
    this.#timer ??= setTimeout(() => void this.#write(), bookMs).unref()
  }

  close(): Promise<void> {
    clearTimeout(this.#timer)
    return this.#write()
  }

  async #write(): Promise<void> {
    this.#timer = undefined
    const owners = [...this.#owners]
    this.#owners.clear()
    for (const [owner, tallying] of owners) {
      // Rules that fail have dead letters and nothing else.
      const isWorker = kindOfOwner(owner) === 'worker'
      const sums = tallying
        .lines()
        .flatMap(([rule, what, messages]) => [
          { side: 'in', rule, what: isWorker ? 'accepted' : 'dead', messages } as const,
          { side: 'out', rule, what, messages } as const,
        ])
      try {
        await this.#queues.ledger.count({ owner, part: isWorker ? 'work' : 'dead' }, sums)
      } catch (error) {
        this.#log.warn(
          { worker: owner, error: messageOf(error) },
          'dropped messages could not be written into the ledger',
        )
      }
    }
  }
}
