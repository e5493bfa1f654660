import { setTimeout as sleep } from 'node:timers/promises'
import { DelayedError, type Job as BullJob } from 'bullmq'
import { backoffMs } from '../core/backoff.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Consumer, Handled, Handler, Job, QueueName } from '../core/queue.ts'
import type { Tally } from '../core/tally.ts'
import { within, type Backend } from './backend.ts'
import { SettlingWorker } from './bull-worker.ts'
import { bullNameOf, decodeId } from './names.ts'
import { takesNoWrites } from './redis-error.ts'

/** Deaths after which BullMQ would fail a job by itself; delivery/ decides about those, so: never (feasibility-queue, change 9). */
const maxStalledCount = 1e9

/** How long a handler that threw keeps its job from coming back: doubled each time it was taken up. */
const defectMs = { first: 1_000, max: 300_000 }

/** How often, and how often at most, a job is put off anew while the node behind the connection takes no writes. */
const putOffPauseMs = 500
const putOffRounds = 20

/** Waits between tries to write what became of a job. */
const accountMs = { first: 200, max: 2_000 }

/** How often dates are looked through although no step of the clock was seen: it may have been another machine's, or before our start. */
const sweepMs = 60_000

/** After its signal was aborted a handler may still say what it got done; a process that waits longer would be killed itself. */
const graceMs = 1_000

export interface ConsumerOptions<Data> {
  readonly backend: Backend
  readonly queue: QueueName
  readonly handler: Handler<Data>
  readonly concurrency: number
  readonly log: Log
}

export function startConsumer<Data>({ backend, queue, handler, concurrency, log }: ConsumerOptions<Data>): Consumer {
  const name = bullNameOf(queue)
  const { connection, factory, lockMs, stalledCheckMs } = backend.workerSettings
  const abort = new AbortController()
  let paused = false
  let inHand = 0
  /** What became of jobs that are about to be finished. */
  const tallies = new WeakMap<BullJob, Tally>()
  let closing: Promise<void> | undefined
  let keeping: Promise<void> = Promise.resolve()

  const worker = new SettlingWorker(
    name.name,
    process,
    {
      connection,
      prefix: name.prefix,
      concurrency,
      lockDuration: lockMs,
      stalledInterval: stalledCheckMs,
      maxStalledCount,
      removeOnComplete: { count: 0 },
    },
    factory,
    {
      onError: (error) => backend.complain(error),
      onUnsettled,
      onFinishing: (bullJob) => account(bullJob, false),
      onFinishedAnew: (bullJob) => account(bullJob, true),
      beforeStalledCheck,
    },
  )
  void worker.run()
  const stopListening = backend.clock.onJump(keepToClock)
  const sweep = setInterval(keepToClock, sweepMs)
  keepToClock()

  return {
    pause() {
      paused = true
      worker.pause(true).catch((error: unknown) => backend.complain(error))
    },
    resume() {
      paused = false
      worker.resume().catch((error: unknown) => backend.complain(error))
    },
    close(deadlineMs) {
      return (closing ??= close(deadlineMs))
    },
  }

  async function process(bullJob: BullJob, token?: string): Promise<void> {
    // INVARIANT: BullMQ's worker hands its lock token to every processor.
    const lock = token ?? ''
    // It was being fetched when we were told to stop.
    if (paused || closing !== undefined) throw await backend.putBack(bullJob, lock)
    inHand += 1
    const handled = await handle(bullJob)
    inHand -= 1
    if (handled.kind === 'done') return void (handled.tally !== undefined && tallies.set(bullJob, handled.tally))
    await putOff(bullJob, lock, handled)
    throw new DelayedError() // Tells BullMQ that the job was moved already.
  }

  async function handle(bullJob: BullJob): Promise<Outcome<Data>> {
    try {
      const data = backend.decode(bullJob.data) as Data
      const job: Job<Data> = {
        id: decodeId(bullJob.id ?? ''),
        data,
        deaths: Math.max(0, bullJob.stalledCounter),
        at: bullJob.timestamp,
        update: (next) => bullJob.updateData(backend.encode(next)),
      }
      const handled = await handler(job, abort.signal)
      return handled.kind === 'again' && handled.data === data ? { kind: 'again', afterMs: handled.afterMs } : handled
    } catch (error) {
      log.error(
        { job: bullJob.id, queue: name.name, error: messageOf(error) },
        'a handler failed; its job comes back later',
      )
      const afterMs = Math.min(defectMs.max, defectMs.first * 2 ** Math.max(0, bullJob.attemptsStarted - 1))
      return { kind: 'again', afterMs }
    }
  }

  /**
   * Writes what became of a job before it is finished, so that none is gone without a word: a death in between brings the job back,
   * and whoever finishes it then writes anew. `onlyEntered`: it is gone, and written again where the ledger still waits for it.
   * Throws when it can't be written before this consumer closes; the job then stays.
   */
  async function account(bullJob: BullJob, onlyEntered: boolean): Promise<void> {
    const tally = tallies.get(bullJob)
    if (tally === undefined) return
    const entry = { id: decodeId(bullJob.id ?? ''), leaving: { tally, at: bullJob.timestamp } }
    for (let round = 0; ; round += 1) {
      try {
        return await backend.ledger.leave(queue, [entry], onlyEntered)
      } catch (error) {
        backend.complain(error)
        if (closing !== undefined) throw error
        await sleep(backoffMs(accountMs, round), undefined, { signal: abort.signal })
      }
    }
  }

  /** Two steps, and safe between them: a death after the first leaves a job that is stalled with the new data. */
  async function putOff(bullJob: BullJob, token: string, handled: PutOff<Data>): Promise<void> {
    for (let round = 1; ; round += 1) {
      try {
        if ('data' in handled) await bullJob.updateData(backend.encode(handled.data))
        return await bullJob.moveToDelayed(Date.now() + Math.max(0, handled.afterMs), token)
      } catch (error) {
        // What was delivered of it must not be forgotten for a node that is being left; this connection will be to another.
        const repeat = takesNoWrites(error) && round < putOffRounds && closing === undefined
        if (!repeat) return onUnsettled(bullJob, error, false)
        await sleep(putOffPauseMs)
      }
    }
  }

  function onUnsettled(bullJob: BullJob, error: unknown, gone: boolean): void {
    if (worker.getBackend().closing !== undefined) return
    log.warn(
      { job: bullJob.id, queue: name.name, error: messageOf(error) },
      'a job could not be put away; it will be taken up again',
    )
    if (gone) return
    backend.forgiveDeath(name, bullJob.id ?? '').catch((cause: unknown) => backend.complain(cause))
  }

  /** On a step of the clock; and now and then, for one that nobody here has seen. */
  function keepToClock(): void {
    worker.renewLocks()
    keeping = keeping.then(() => backend.keepToClock(name, worker.inHand())).catch(() => {}) // Away: the next time.
  }

  async function beforeStalledCheck(): Promise<void> {
    backend.clock.look()
    await keeping
  }

  async function close(deadlineMs: number): Promise<void> {
    stopListening()
    clearInterval(sweep)
    const drained = worker.close()
    // With nothing in hand BullMQ only has to hang up; it waits for a connection that was never made.
    if (await endsWithin(inHand > 0 ? deadlineMs : Math.min(deadlineMs, graceMs), drained)) return
    abort.abort()
    // Whether or not they answer now, what is left is left: it comes back as if this process had died.
    if (inHand > 0 && (await endsWithin(graceMs, drained))) return
    await endsWithin(graceMs, worker.abandon())
  }
}

async function endsWithin(ms: number, promise: Promise<void>): Promise<boolean> {
  try {
    await within(ms, promise, () => new Error('late'))
    return true
  } catch {
    return false
  }
}

type PutOff<Data> = { readonly kind: 'again'; readonly data?: Data; readonly afterMs: number }
type Outcome<Data> = Exclude<Handled<Data>, { kind: 'again' }> | PutOff<Data>
