import type { EventEmitter } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { DelayedError, type Job, type Processor, WaitingError, Worker, type WorkerOptions } from 'bullmq'
import { messageOf } from '../core/errors.ts'
import type { Factory, InHand } from './backend.ts'
import { takesNoWrites } from './redis-error.ts'

/** After an error of the store the worker asks again this much later; asking at once would be a busy loop. */
const retryMs = 1_000

/** BullMQ's codes (its ErrorCode) for "this job is no longer yours": lock gone, not active, lock of another. */
const lockLostCodes: ReadonlySet<unknown> = new Set([-2, -3, -6])

export interface Observer {
  /** A handled job is about to be finished. What this throws keeps it from that. */
  onFinishing(job: Job): Promise<void>
  /** It is finished, and the connection was lost in between: the store may have forgotten what was written before. */
  onFinishedAnew(job: Job): Promise<void>
  /** Something went wrong in the background; the worker goes on by itself. */
  onError(error: unknown): void
  /**
   * A handled job could not be put away: its lock was lost to a stalled check, or the store refused. It will be taken up
   * again. `gone`: it is not in the store any more.
   */
  onUnsettled(job: Job, error: unknown, gone: boolean): void
  beforeStalledCheck(): Promise<void>
}

/**
 * BullMQ's Worker with what Sluice can't do without:
 * - nothing goes from `active` to `failed`: a job that can't be completed stays, its lock runs out, and it comes back;
 * - an error while fetching is waited out (BullMQ 6.7 asks again at once unless the connection itself is down);
 * - its loop is started again should it ever end by an error;
 * - `abandon` leaves the jobs in hand where they are.
 */
export class SettlingWorker extends Worker {
  readonly #observer: Observer
  /** How often the connection was lost. */
  #drops = 0

  constructor(
    name: string,
    processor: Processor,
    options: Omit<WorkerOptions, 'autorun'>,
    factory: Factory,
    observer: Observer,
  ) {
    // The loop must not call the overrides below before this object is whole.
    super(name, processor, { ...options, runRetryDelay: retryMs, autorun: false }, factory)
    this.#observer = observer
    this.on('error', (error) => observer.onError(error))
    // Only Redis has one; commands that had no answer go out again on the next.
    const { client } = this.getBackend() as unknown as { readonly client?: Promise<EventEmitter> }
    client?.then(
      (connection) => connection.on('close', () => (this.#drops += 1)),
      () => {},
    )
    // A job that was left behind is told by dates: those are put right before anybody looks at them.
    const backend = this.getBackend()
    const moveStalled = backend.moveStalledJobsToWait.bind(backend)
    backend.moveStalledJobsToWait = async () => {
      await observer.beforeStalledCheck()
      return moveStalled()
    }
  }

  override async run(): Promise<void> {
    while (!this.closing) {
      try {
        return await super.run()
      } catch (error) {
        this.#observer.onError(error)
        await sleep(retryMs)
      }
    }
  }

  /** The jobs in hand, and the tokens of their locks. */
  inHand(): readonly InHand[] {
    return [...this.#tracked()].map(([id, { token }]) => ({ id, token }))
  }

  /** The locks of the jobs in hand are renewed at the next turn: by a clock that went back they would seem just renewed for long. */
  renewLocks(): void {
    for (const tracked of this.#tracked().values()) tracked.ts = 1
  }

  #tracked(): Map<string, { readonly token: string; ts: number }> {
    // BullMQ has it as `protected`; ts is when the lock was renewed last, by the wall clock.
    return (this.lockManager as unknown as { readonly trackedJobs: Map<string, { token: string; ts: number }> })
      .trackedJobs
  }

  /** Stops at once: locks are renewed no more, connections closed, jobs in hand left as if the process had died. */
  async abandon(): Promise<void> {
    await this.lockManager.close()
    await this.getBackend().close(true)
  }

  protected override async moveToActive(...parameters: Parameters<Worker['moveToActive']>): Promise<Job> {
    try {
      return await super.moveToActive(...parameters)
    } catch (error) {
      if (isConnectionError(error)) throw error // BullMQ waits by itself then.
      this.#observer.onError(error)
      if (!this.closing) await sleep(retryMs)
      return nothing
    }
  }

  protected override async handleCompleted(...parameters: Parameters<Worker['handleCompleted']>): Promise<Job> {
    try {
      const drops = this.#drops
      await this.#observer.onFinishing(parameters[1])
      const next = await super.handleCompleted(...parameters)
      if (this.#drops !== drops) await this.#observer.onFinishedAnew(parameters[1])
      return next
    } catch (error) {
      if (isConnectionError(error)) throw error // BullMQ repeats it when the connection is back.
      // Such a node is left; where the next has the job, its lock is there too.
      if (takesNoWrites(error)) throw new NodeLeft(error)
      return this.#unsettled(parameters[1], error)
    }
  }

  protected override async handleFailed(...parameters: Parameters<Worker['handleFailed']>): Promise<Job> {
    const [error, job] = parameters
    if (error instanceof DelayedError || error instanceof WaitingError) return super.handleFailed(...parameters)
    return this.#unsettled(job, error)
  }

  #unsettled(job: Job, error: unknown): Job {
    this.#observer.onUnsettled(job, error, codeOf(error) === -1)
    return nothing
  }
}

/** For a command that is to be repeated on another connection. Its code is what BullMQ takes for "the connection is down". */
class NodeLeft extends Error {
  readonly code = 'ECONNREFUSED'
  constructor(cause: unknown) {
    super(messageOf(cause), { cause })
  }
}

/** BullMQ's way to say "no next job": its types are made without `strictNullChecks`. */
const nothing = undefined as unknown as Job

/** Whether a job was lost to a stalled check while it was in hand. */
export function isLockLost(error: unknown): boolean {
  return lockLostCodes.has(codeOf(error))
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
}

/** As BullMQ tells them apart (its isNotConnectionError). */
function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return (
    error.message.includes('Connection is closed') ||
    error.message.includes('ECONNREFUSED') ||
    codeOf(error) === 'ECONNREFUSED'
  )
}
