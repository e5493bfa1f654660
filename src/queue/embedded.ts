import { mkdir } from 'node:fs/promises'
import { createPostgresBackend, DelayedError, Job, Queue, runMigrations } from 'bullmq'
import { type Clock, unwatchedClock } from '../core/clock.ts'
import { messageOf, QueueAwayError, SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { PagedJob, QueueName, Queues, StoredJob } from '../core/queue.ts'
import { type Backend, closedError, type Factory, type NewJob, within } from './backend.ts'
import { createQueues } from './bullmq-queues.ts'
import { DatabaseAway, EmbeddedDatabase, type Query } from './embedded-database.ts'
import { corrupt, prepareDatabaseFolder } from './embedded-folder.ts'
import { EmbeddedPool } from './embedded-pool.ts'
import { createEmbeddedLedger, jobNameOf, ledgerTables } from './embedded-ledger.ts'
import { needRoom } from './embedded-room.ts'
import { EmbeddedSizes } from './embedded-sizes.ts'
import { allOwners, pageBytes, pageOfWaiting, removeWaiting } from './embedded-statements.ts'
import { createEmbeddedStore, storeTables, writeProof } from './embedded-store.ts'
import { startHousekeeping } from './housekeeping.ts'
import { jobOptions, queueOptions } from './job-options.ts'
import { decodeName, encodeName } from './names.ts'
import { takeFolder } from './owner-lock.ts'
import { createPacedWarn } from './paced-warn.ts'

/** Due later from now than they were asked to wait: put off before the clock went back. A second is no rounding. */
const keepDelays = `
UPDATE bullmq.job SET process_at_ms = $2::bigint
WHERE queue = $1 AND state = 'delayed' AND process_at_ms - $2::bigint > delay_ms + 1000`

const keepLocks = `
UPDATE bullmq.job SET stalled_marked = false, locked_until_ms = $3::bigint
WHERE queue = $1 AND state = 'active' AND (id = ANY($2::text[]) OR locked_until_ms > $3::bigint)`

export interface EmbeddedQueuesOptions {
  /** A folder of its own, e.g. `data/queue`; made where there is none. Not on a network file system. */
  readonly folder: string
  readonly log: Log
  /** Watched, so that a step of it does nothing to what waits. */
  readonly clock?: Clock
  /** A job whose holder gives no sign of life for this long is free: something here went wrong, for one process holds them all. */
  readonly lockMs?: number
  readonly stalledCheckMs?: number
  /** After this long without an answer an add has failed. 5 s: nothing is ever "away" here, but a slow disk may sync for seconds. */
  readonly timeoutMs?: number
}

export interface EmbeddedQueues extends Queues {
  readonly kind: 'embedded'
  /** How often data was forced to the disk so far: at least once for every add that resolved. */
  syncs(): Promise<number>
}

/** Long, that a busy process isn't taken for one in which something went wrong. */
const lockDefaults = { lockMs: 30_000, stalledCheckMs: 5_000 }

/** Nobody reads BullMQ's events: they need no place in the log that is synced. */
const unlogEvents = `
DO $$ BEGIN
  IF (SELECT relpersistence FROM pg_class WHERE oid = 'bullmq.event'::regclass) <> 'u' THEN
    ALTER TABLE bullmq.event SET UNLOGGED;
  END IF;
END $$`

/** Whoever held these is dead, since we hold the folder. They keep their place, so they come first again. */
const takeUp = `
UPDATE bullmq.job SET state = 'waiting', lock_token = NULL, locked_until_ms = NULL, stalled_marked = false,
  stalled_count = stalled_count + 1 WHERE state = 'active'`

/**
 * Opens the queues in a folder, for this process alone; what a dead one had in hand waits again at once. Throws
 * SluiceError QUEUE_HELD (with who holds it) and QUEUE_CORRUPT (with what to do).
 */
export async function openEmbeddedQueues(options: EmbeddedQueuesOptions): Promise<EmbeddedQueues> {
  const { folder, log } = options
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw new SluiceError('QUEUE_CORRUPT', `the embedded queue in ${folder} cannot be opened: ${messageOf(error)}`, {
      cause: error,
    })
  })
  const letGo = takeFolder(folder)
  let database: EmbeddedDatabase | undefined
  try {
    database = new EmbeddedDatabase(await prepareDatabaseFolder(folder, log), log, prepareSession)
    await database.open()
    await prepareTables(database)
    const backend = createBackend(database, letGo, options)
    return { ...createQueues(backend, log), kind: 'embedded', syncs: () => backend.attempt(() => syncsOf(database)) }
  } catch (error) {
    await database?.close()
    letGo()
    throw error instanceof SluiceError ? error : corrupt(folder, error)
  }
}

async function prepareSession(query: Query): Promise<void> {
  await runMigrations({ query: (text: string, params?: readonly unknown[]) => mutable(query(text, params)) }, 'bullmq')
  await query('SET search_path TO bullmq, public')
}

async function prepareTables(database: EmbeddedDatabase): Promise<void> {
  await database.query(storeTables)
  await database.query(ledgerTables)
  await database.query(unlogEvents)
  // Reads the whole table, whose pages have checksums: damage is found now and not in the middle of the night.
  await database.query('SELECT count(queue) FROM bullmq.job')
  await database.query(takeUp)
}

function createBackend(database: EmbeddedDatabase, letGo: () => void, options: EmbeddedQueuesOptions): Backend {
  const { folder, log, timeoutMs = 5_000, lockMs, stalledCheckMs } = { ...lockDefaults, ...options }
  const pool = new EmbeddedPool(database)
  const factory = createPostgresBackend as unknown as Factory
  const connection = pool as never
  const queues = new Map<string, Promise<Queue>>()
  const registered = new Set<string>()
  const sizes = new EmbeddedSizes(database, folder)
  const warn = createPacedWarn(log)
  const stopHousekeeping = startHousekeeping(database, log)
  let closed = false

  async function attempt<T>(operation: () => Promise<T>): Promise<T> {
    if (closed) throw closedError()
    try {
      return await within(
        timeoutMs,
        operation(),
        () => new QueueAwayError('the embedded queue did not answer in time', true),
      )
    } catch (error) {
      if (error instanceof SluiceError) throw error
      // What Postgres refused it has rolled back.
      const inDoubt = error instanceof DatabaseAway && error.sent
      throw new QueueAwayError(`the embedded queue: ${messageOf(error)}`, inDoubt, { cause: error })
    }
  }

  async function openQueue(name: string): Promise<Queue> {
    const queue = new Queue(name, { ...queueOptions, connection }, factory)
    queue.on('error', complain)
    await queue.waitUntilReady()
    return queue
  }

  function complain(error: unknown): void {
    if (!closed && !(error instanceof DatabaseAway)) warn({ error: messageOf(error) }, 'trouble in the embedded queue')
  }

  return {
    kind: 'embedded',
    durability: 'fsync',
    trouble: undefined,
    describe: `embedded queue in ${folder}: an acknowledged message survives a power failure; one process holds it`,
    clock: options.clock ?? unwatchedClock,
    store: createEmbeddedStore(database, attempt),
    ledger: createEmbeddedLedger(database, attempt, decode),
    workerSettings: { connection, factory, lockMs, stalledCheckMs },
    attempt,
    complain,
    // jsonb refuses U+0000 and lone surrogates and forgets the order of keys; JSON text in a string has none of these.
    encode: (data) => JSON.stringify(data),
    decode,

    async queue({ name }) {
      const known = queues.get(name)
      if (known !== undefined) return known
      const opening = attempt(() => openQueue(name))
      queues.set(name, opening)
      opening.catch(() => queues.delete(name))
      return opening
    },

    addAll,

    async waiting(queue, start, count) {
      // BullMQ's own listing begins with the newest here.
      const text =
        "SELECT id, data, added_at_ms AS at FROM bullmq.job WHERE queue = $1 AND state = 'waiting' ORDER BY priority, seq OFFSET $2 LIMIT $3"
      const { rows } = await database.query(text, [queue.name, start, count])
      return rows as readonly StoredJob<unknown>[]
    },

    async counts(queue) {
      // Each by its own index; BullMQ's own counting reads every row.
      const of = (state: string) =>
        `(SELECT count(*) FROM bullmq.job WHERE queue = $1 AND state = '${state}')::int AS ${state}`
      const { rows } = await database.query(`SELECT ${['waiting', 'active', 'delayed'].map(of).join(', ')}`, [
        queue.name,
      ])
      return rows[0] as Awaited<ReturnType<Backend['counts']>>
    },

    async page({ name }, from, count) {
      const { priority = -1, seq = 0 } = /^(?<priority>\d{1,9})\.(?<seq>\d{1,18})$/.exec(from ?? '')?.groups ?? {}
      const { rows } = await database.query(pageOfWaiting, [name, priority, seq, count, pageBytes])
      return rows as readonly PagedJob<unknown>[]
    },

    async remove({ name }, ids, leaving) {
      const { rows } = await database.query(removeWaiting, [name, JSON.stringify(ids), leaving ?? null])
      return rows.length
    },
    removedAtOnce: 250,

    async putBack(job, token) {
      // Delayed by nothing it keeps its place; BullMQ's "move to wait" would put it last here.
      await job.moveToDelayed(Date.now(), token)
      return new DelayedError()
    },

    async forgiveDeath({ name }, id) {
      await attempt(() =>
        database.query('UPDATE bullmq.job SET stalled_count = stalled_count - 1 WHERE queue = $1 AND id = $2', [
          name,
          id,
        ]),
      )
    },

    async readMemo({ name }) {
      const { rows } = await database.query('SELECT text FROM sluice.memo WHERE queue = $1', [name])
      return (rows[0] as { readonly text: string } | undefined)?.text
    },
    async writeMemo({ name }, text) {
      const upsert = 'INSERT INTO sluice.memo VALUES ($1, $2) ON CONFLICT (queue) DO UPDATE SET text = excluded.text'
      await database.query(upsert, [name, text])
    },

    async keepToClock({ name }, inHand) {
      const now = Date.now()
      // Nobody else holds these; a clock that went forward must not make them look left behind.
      await attempt(() => database.query(keepLocks, [name, inHand.map(({ id }) => id), now + lockMs]))
      const { rowCount } = await attempt(() => database.query(keepDelays, [name, now]))
      if (rowCount > 0) await attempt(() => database.query("SELECT pg_notify('bullmq_jobs', $1)", [name]))
    },

    async register(owner) {
      if (registered.has(owner)) return
      await database.query('INSERT INTO sluice.owner VALUES ($1) ON CONFLICT DO NOTHING', [encodeName(owner)])
      registered.add(owner)
    },

    async owners() {
      const { rows } = await database.query(allOwners)
      return (rows as readonly { readonly owner: string }[]).map(({ owner }) => decodeName(owner)).sort()
    },

    sizes: (owners, parts) => sizes.of(owners, parts),
    room: () => sizes.room(),

    async prove() {
      await needRoom(folder)
      await database.query(writeProof)
    },

    async close() {
      closed = true
      stopHousekeeping()
      await database.close()
      letGo()
    },
  }
}

/** What `encode` made. */
function decode(stored: unknown): unknown {
  return typeof stored === 'string' ? JSON.parse(stored) : stored
}

/** One statement, so all or none. Not `addBulk`: it makes two temporary tables a call, which is ten times slower and bloats the catalog. */
async function addAll(queue: Queue, _name: QueueName, jobs: readonly NewJob[]): Promise<void> {
  const [first, ...more] = jobs
  if (first === undefined) return
  if (more.length === 0) return void (await queue.add(jobNameOf(first.entering), first.data, jobOptions(first.id)))
  const entries = jobs.map(({ id, data, entering }) => ({
    queueName: queue.name,
    prefix: '',
    jobId: id,
    jobData: new Job(queue, jobNameOf(entering), data, jobOptions(id), id).asJSON(),
    parentKeyOpts: {},
  }))
  // It answers with errors instead of throwing them; BullMQ's own FlowProducer overlooks that.
  for (const [error] of await queue.getBackend().addFlow(entries)) if (error !== null) throw error
}

async function syncsOf(database: EmbeddedDatabase | undefined): Promise<number> {
  return (await database?.syncs()) ?? 0
}

async function mutable(
  result: Promise<{ readonly rows: readonly unknown[]; readonly rowCount: number }>,
): Promise<{ rows: never[]; rowCount: number }> {
  const { rows, rowCount } = await result
  return { rows: rows as never[], rowCount }
}
