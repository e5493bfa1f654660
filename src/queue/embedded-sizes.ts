import { statfs } from 'node:fs/promises'
import type { QueueName, QueueRoom, QueueSize } from '../core/queue.ts'
import type { EmbeddedDatabase } from './embedded-database.ts'
import { queueOfName } from './names.ts'

/** What a job takes beside its data: its row, its options, its places in the indexes. */
const bytesPerJob = 600

/**
 * Disk that is left free: the write-ahead log grows before the tables do, and taking a job out is a write as well. Of a small disk
 * a fifth.
 */
const kept = { bytes: 268_435_456, share: 0.2 }

/** Sizes are known without reading the data. */
const sizesByQueue = `
SELECT queue, count(*)::int AS jobs, coalesce(sum(pg_column_size(data)), 0)::float8 AS bytes FROM bullmq.job GROUP BY queue`

const tableSize = `SELECT pg_total_relation_size('bullmq.job')::float8 AS bytes`

/** Measures the queues in an embedded database: the table is gone through, without the data. */
export class EmbeddedSizes {
  readonly #database: Pick<EmbeddedDatabase, 'query'>
  readonly #folder: string
  #last: ReadonlyMap<string, QueueSize> = new Map()

  constructor(database: Pick<EmbeddedDatabase, 'query'>, folder: string) {
    this.#database = database
    this.#folder = folder
  }

  async of(owners: readonly string[], parts: readonly QueueName['part'][]): Promise<ReadonlyMap<string, QueueSize>> {
    await this.#measure(parts)
    return new Map(owners.map((owner) => [owner, this.#last.get(owner) ?? { jobs: 0, bytes: 0, deadBytes: 0 }]))
  }

  async room(): Promise<QueueRoom> {
    const { bavail, blocks, bsize } = await statfs(this.#folder)
    const free = bavail * bsize
    const held = [...this.#last.values()].reduce((sum, { bytes }) => sum + bytes, 0)
    const { rows } = await this.#database.query(tableSize)
    // What jobs have left behind in the table is taken by the next ones, once it was tidied up.
    const empty = Math.max(0, (rows[0] as { readonly bytes: number }).bytes - held) / 2
    return {
      bytes: free + held + empty,
      left: free + empty - Math.min(kept.bytes, blocks * bsize * kept.share),
      what: 'what the disk of the embedded queue has free',
    }
  }

  async #measure(parts: readonly QueueName['part'][]): Promise<void> {
    const { rows } = await this.#database.query(sizesByQueue)
    const sizes = new Map<string, { jobs: number; bytes: number; deadBytes: number }>()
    for (const { queue, jobs, bytes } of rows as readonly { queue: string; jobs: number; bytes: number }[]) {
      const { owner, part } = queueOfName(queue)
      if (!parts.includes(part)) continue
      const size = sizes.get(owner) ?? { jobs: 0, bytes: 0, deadBytes: 0 }
      sizes.set(owner, size)
      const whole = bytes + jobs * bytesPerJob
      size.jobs += jobs
      size.bytes += whole
      if (part === 'dead') size.deadBytes += whole
    }
    this.#last = sizes
  }
}
