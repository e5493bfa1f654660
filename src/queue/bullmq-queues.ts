import type { Log } from '../core/log.ts'
import type { Consumer, Handler, QueueName, Queues, StoredJob } from '../core/queue.ts'
import { leavingOf } from './ledger-text.ts'
import type { Backend } from './backend.ts'
import { startConsumer } from './consumer.ts'
import { parsedJson } from '../core/parsed-json.ts'
import { leavingText } from './ledger-text.ts'
import { bullNameOf, decodeId, encodeId } from './names.ts'
import { WriteProof } from './write-proof.ts'

const allParts = ['work', 'failures', 'dead'] as const

/** The contract of core/queue.ts on BullMQ, whatever BullMQ itself stands on. */
export function createQueues(backend: Backend, log: Log): Queues {
  const consumers = new Set<Consumer>()
  const proof = new WriteProof(() => backend.attempt(() => backend.prove()))
  let closing: Promise<void> | undefined

  return {
    kind: backend.kind,
    durability: backend.durability,
    get describe() {
      return backend.describe
    },
    get trouble() {
      return backend.trouble
    },
    store: backend.store,
    ledger: backend.ledger,

    async add(name, jobs) {
      if (jobs.length === 0) return
      // A worker adds to its own failures only, and its Redis user can't reach the register.
      if (name.part !== 'failures') await backend.attempt(() => backend.register(name.owner))
      const bullName = bullNameOf(name)
      const bullJobs = jobs.map(({ id, data, entering }) => ({
        id: encodeId(id),
        data: backend.encode(data),
        entering,
      }))
      const queue = await backend.queue(bullName)
      await proof.of(() => backend.attempt(() => backend.addAll(queue, name, bullJobs)))
    },

    consume<Data>(queue: QueueName, handler: Handler<Data>, { concurrency }: { readonly concurrency: number }) {
      const consumer = startConsumer<Data>({ backend, queue, handler, concurrency, log })
      const tracked: Consumer = {
        ...consumer,
        async close(deadlineMs) {
          await consumer.close(deadlineMs)
          consumers.delete(tracked)
        },
      }
      consumers.add(tracked)
      return tracked
    },

    async counts(name) {
      const queue = await backend.queue(bullNameOf(name))
      return backend.attempt(() => backend.counts(queue))
    },

    async peek<Data>(name: QueueName, start: number, count: number) {
      if (count <= 0) return []
      const queue = await backend.queue(bullNameOf(name))
      const stored = await backend.attempt(() => backend.waiting(queue, start, count))
      return stored.map((job) => read<Data>(job))
    },

    async get<Data>(name: QueueName, id: string) {
      const queue = await backend.queue(bullNameOf(name))
      const job = await backend.attempt(async () => queue.getJob(encodeId(id)))
      return job?.id === undefined ? undefined : read<Data>({ id: job.id, data: job.data, at: job.timestamp })
    },

    // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- what a queue holds is known to its reader only
    async page<Data>(name: QueueName, from: string | undefined, count: number) {
      if (count <= 0) return []
      const paged = await backend.attempt(() => backend.page(bullNameOf(name), from, count))
      return paged.map((job) => ({ ...read<Data>(job), cursor: job.cursor }))
    },

    async remove(name, ids, became) {
      const bullName = bullNameOf(name)
      const each = [...new Set(ids)]
      let removed = 0
      const leaving = became === undefined ? undefined : leavingText(leavingOf(became))
      for (let start = 0; start < each.length; start += backend.removedAtOnce) {
        const some = each.slice(start, start + backend.removedAtOnce)
        removed += await backend.attempt(() => backend.remove(bullName, some.map(encodeId), leaving))
      }
      return removed
    },

    memo(owner) {
      const name = bullNameOf({ owner, part: 'work' })
      return {
        async read() {
          const text = await backend.attempt(() => backend.readMemo(name))
          return text === undefined ? undefined : parsedJson(text)
        },
        write: (value) => backend.attempt(() => backend.writeMemo(name, JSON.stringify(value))),
      }
    },

    owners: () => backend.attempt(() => backend.owners()),
    sizes: (owners, parts = allParts) => backend.attempt(() => backend.sizes(owners, parts)),
    room: () => backend.attempt(() => backend.room()),
    // Where it is known to be away, no earlier write counts.
    ping: () => backend.attempt(() => proof.ask()),

    close() {
      return (closing ??= close())
    },
  }

  function read<Data>({ id, data, at }: StoredJob<unknown>): StoredJob<Data> {
    return { id: decodeId(id), data: backend.decode(data) as Data, at }
  }

  async function close(): Promise<void> {
    await Promise.all([...consumers].map((consumer) => consumer.close(0)))
    await backend.close()
  }
}
