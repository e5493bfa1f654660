import { createRedisBackend, Queue, WaitingError } from 'bullmq'
import { type Clock, unwatchedClock } from '../core/clock.ts'
import { messageOf, QueueAwayError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Durability, QueueName, Queues, StoredJob } from '../core/queue.ts'
import type { Backend, NewJob } from './backend.ts'
import { createQueues } from './bullmq-queues.ts'
import { isLockLost } from './bull-worker.ts'
import { jobOptions, queueOptions } from './job-options.ts'
import type { BullName } from './names.ts'
import { createPacedWarn } from './paced-warn.ts'
import { addWithEntries } from './redis-adding.ts'
import { isReplyError, takesNoWrites } from './redis-error.ts'
import { keepRedisToClock } from './redis-clock.ts'
import { RedisFile } from './redis-file.ts'
import { RedisLink } from './redis-link.ts'
import { createRedisLedger } from './redis-ledger.ts'
import { patient, readRedisUrl, type RedisTls, type SentinelUser } from './redis-options.ts'
import { RedisOwners } from './redis-owners.ts'
import { RedisSizes, roomInRedis } from './redis-sizes.ts'
import { createRedisStore } from './redis-store.ts'
import { pageOfWaiting, removedAtOnce, removeWaiting } from './redis-waiting.ts'

const mayNotKeepLedger =
  'this Redis user may not write the ledger, so messages go uncounted: give it the keys and commands of deploy/redis/users.acl'

export interface RedisQueuesOptions {
  /** As parseRedisUrl reads it, with user name and password where Redis wants them. */
  readonly url: string
  readonly tls?: RedisTls
  /** Who asks the sentinels, where the url names them and they want to know. */
  readonly sentinel?: SentinelUser
  /** What an acknowledgement promises; checked against the server. Default `process`. */
  readonly durability?: Durability
  /** Use a Redis that evicts or has no append-only file all the same. */
  readonly acceptLoss?: boolean
  /** Opens one that may lose acknowledged messages all the same: adding throws QUEUE_UNSAFE until it is safe. */
  readonly openUnsafe?: boolean
  /** Who asks: a worker's Redis user reaches its own queues only and can't read the server's configuration. */
  readonly role: 'ingest' | 'worker'
  readonly log: Log
  /** Watched, so that a step of it does nothing to what waits. */
  readonly clock?: Clock
  /** After this long without an answer an add has failed. 2 s: a publisher waits for it, and an fsync of a busy disk takes up to one. */
  readonly timeoutMs?: number
  /** How long Redis may then take to write it to its file. 3 s: it puts that off for two while an fsync is under way. */
  readonly writeMs?: number
  /** How often Redis' settings are looked at. 2 s: what is acknowledged after somebody made it unsafe may be lost, and a look costs Redis a fifth of a millisecond. */
  readonly lookMs?: number
  /** A job whose holder gives no sign of life for this long is free. With the check below: taken up within 10 s of a death. */
  readonly lockMs?: number
  readonly stalledCheckMs?: number
}

const proofKey = '{sluice}:proof'

/** Counts a death less, if the job is still there. */
const forgiveScript = `if redis.call('EXISTS', KEYS[1]) == 1 then return redis.call('HINCRBY', KEYS[1], 'stc', -1) end`

const promises = {
  process:
    'survives the death of any process, Redis too; a power failure may take the last seconds (appendfsync everysec), or half a minute and more (appendfsync no)',
  fsync: 'survives a power failure',
  replicated: 'survives the loss of the machine: a replica has it',
} as const

/**
 * The queues on Redis. Redis being away is no failure to start: everything throws QUEUE_AWAY until it is there. Throws
 * QUEUE_UNSAFE when it is there and may lose acknowledged messages (but with `openUnsafe`); when that turns out later, adding throws it.
 */
export async function openRedisQueues(options: RedisQueuesOptions): Promise<Queues> {
  const backend = createBackend(options)
  try {
    await backend.link.firstWord()
  } catch (error) {
    if (options.openUnsafe === true) return createQueues(backend, options.log)
    await backend.close()
    throw error
  }
  return createQueues(backend, options.log)
}

function createBackend(options: RedisQueuesOptions): Backend & { readonly link: RedisLink } {
  const {
    durability = 'process',
    acceptLoss = false,
    role,
    log,
    timeoutMs = 2_000,
    writeMs = 3_000,
    lookMs = 2_000,
    lockMs = 5_000,
    stalledCheckMs = 2_000,
    clock = unwatchedClock,
  } = options
  const address = readRedisUrl(options.url, options.tls, options.sentinel)
  const link = new RedisLink(address, { timeoutMs, writeMs, lookMs }, { durability, acceptLoss, role }, log)
  const { redis } = link
  const file = new RedisFile(redis, { acceptLoss, writeMs })
  const warn = createPacedWarn(log)
  const owners = new RedisOwners(link, log)
  const sizes = new RedisSizes(link.redis)
  const queues = new Map<string, Promise<Queue>>()
  /** Queues whose settings are written into this Redis; one that has come back may have an older state. */
  const written = new Set<string>()
  link.onReturn(() => written.clear())

  return {
    link,
    kind: 'redis',
    durability,
    get describe() {
      return `Redis at ${address.label}: ${link.standing(`an acknowledged message ${promises[durability]}`)}`
    },
    get trouble() {
      return link.trouble
    },
    clock,
    store: createRedisStore(link, durably),
    ledger: createRedisLedger(link),
    workerSettings: { connection: patient(address.target), factory: createRedisBackend, lockMs, stalledCheckMs },
    attempt: (operation) => link.attempt(operation),
    encode: (data) => data,
    decode: (stored) => stored,

    async queue(name) {
      const known = queues.get(name.name)
      if (known !== undefined) {
        if (!written.has(name.name)) await writeSettings(await known)
        return known
      }
      const opening = link.attempt(() => openQueue(name))
      queues.set(name.name, opening)
      opening.catch(() => queues.delete(name.name))
      return opening
    },

    async addAll(queue, name, jobs) {
      try {
        if (await durably(() => addJobs(queue, name, jobs))) warn({ owner: name.owner }, mayNotKeepLedger)
      } catch (error) {
        // A pipeline isn't atomic: of one job we know that it isn't in, of several we don't.
        if (jobs.length === 1 && isReplyError(error))
          throw new QueueAwayError(`Redis: ${messageOf(error)}`, false, { cause: error })
        throw error
      }
    },

    async waiting(queue, start, count) {
      const jobs = await queue.getJobs(['waiting'], start, start + count - 1, true)
      return jobs.flatMap((job): StoredJob<unknown>[] =>
        job?.id === undefined ? [] : [{ id: job.id, data: job.data, at: job.timestamp }],
      )
    },

    async counts(queue) {
      const { waiting = 0, active = 0, delayed = 0 } = await queue.getJobCounts('waiting', 'active', 'delayed')
      return { waiting, active, delayed }
    },

    page: (name, from, count) => pageOfWaiting(redis, name, from, count),
    remove: (name, ids, leaving) => removeWaiting(redis, name, ids, leaving),
    removedAtOnce,

    async putBack(job, token) {
      await job.moveToWait(token)
      return new WaitingError()
    },

    async forgiveDeath({ prefix, name }, id) {
      await link.attempt(() => redis.eval(forgiveScript, 1, `${prefix}:${name}:${id}`))
    },

    // No job's key: its id would need a digit.
    readMemo: async ({ prefix, name }) => (await redis.get(`${prefix}:${name}:memo`)) ?? undefined,
    async writeMemo({ prefix, name }, text) {
      await redis.set(`${prefix}:${name}:memo`, text)
    },
    keepToClock: (name, inHand) => keepRedisToClock(link, name, { lockMs, stalledCheckMs }, inHand),
    register: (owner) => owners.register(owner),
    owners: () => owners.all(),
    sizes: (all, parts) => sizes.of(all, parts),
    room: () => roomInRedis(redis),
    async prove() {
      // A worker's user has keys of its own queues only, and promises nothing to publishers.
      if (role === 'worker') return void (await redis.ping())
      // Refused like an add where Redis is full, read-only, without its replicas or unable to write its file.
      await durably(() => redis.set(proofKey, '1'))
    },
    complain(error) {
      if (takesNoWrites(error)) return link.complain(error)
      if (isLockLost(error) || isReplyError(error) || redis.status === 'ready')
        return warn({ error: messageOf(error) }, 'trouble in a queue on Redis')
      link.complain(error)
    },
    async close() {
      link.close()
    },
  }

  /** True where they could not be entered in the ledger. */
  async function addJobs(queue: Queue, name: QueueName, jobs: readonly NewJob[]): Promise<boolean> {
    if (jobs.some(({ entering }) => entering !== undefined)) return addWithEntries(redis, queue, name, jobs)
    await queue.addBulk(jobs.map(({ id, data }) => ({ name: 'job', data, opts: jobOptions(id) })))
    return false
  }

  /** Runs a write, and resolves when it is as durable as was promised. */
  async function durably<T>(write: () => Promise<T>): Promise<T> {
    const answer = await file.hold(write)
    if (durability === 'replicated') await replicated()
    return answer
  }

  /** On the connection that wrote: it waits for what was written there. */
  async function replicated(): Promise<void> {
    const replicas = await redis.wait(1, Math.ceil(timeoutMs / 2)).catch((error: unknown) => {
      throw new QueueAwayError(`Redis: ${messageOf(error)}`, true, { cause: error })
    })
    if (replicas === 0) throw new QueueAwayError('no replica of Redis took it in time', true)
  }

  async function openQueue({ name, prefix }: BullName): Promise<Queue> {
    const queue = new Queue(name, { ...queueOptions, connection: redis, prefix, skipVersionCheck: true })
    queue.on('error', (error) => link.complain(error))
    await queue.waitUntilReady()
    written.add(name)
    return queue
  }

  /** What BullMQ writes when it opens a queue: without it the stream of events keeps a hundred times as many. */
  async function writeSettings(queue: Queue): Promise<void> {
    await link.attempt(() => queue.getBackend().setQueueMeta(queue.metaValues))
    written.add(queue.name)
  }
}
