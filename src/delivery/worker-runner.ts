import { type Clock, unwatchedClock } from '../core/clock.ts'
import type { Credential } from '../core/credential.ts'
import type { Envelope } from '../core/envelope.ts'
import { messageOf } from '../core/errors.ts'
import type { AnyForwarderDefinition } from '../core/forwarder.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import type { Consumer, Queues } from '../core/queue.ts'
import type { Redactor } from '../core/redactor.ts'
import type { WorkerDefinition } from '../core/worker.ts'
import { createBreaker, type ProbeResult } from './breaker.ts'
import { isExpired } from './decide.ts'
import { createEnvelopeHandler } from './envelope-handler.ts'
import { createGate, createSlots, type Gate } from './gate.ts'
import { createOpening } from './opening.ts'
import { pause, unlessAborted } from './pause.ts'
import { isEnvelope } from './readable.ts'
import { reasonOf } from './text.ts'
import { createTimeMemory } from './time-memory.ts'

export interface WorkerRunnerOptions {
  /** The worker as its file says it, references resolved. */
  readonly worker: WorkerDefinition
  readonly forwarder: AnyForwarderDefinition
  readonly queues: Queues
  /** Opens the worker's credential; undefined where it has none. May throw; it is asked again while the worker is blocked. */
  readonly openCredential: () => Promise<Credential | undefined>
  /** Knows the secrets of this process; what a far side says goes through it before it is kept. */
  readonly redactor: Pick<Redactor, 'scrub'>
  readonly log: Log
  readonly metrics: Metrics
  /** The same one for all runners of a process, so that a message that kills it can be told from its neighbours. */
  readonly gate?: Gate
  readonly settings?: Partial<WorkerRunnerSettings>
  /** Watched by whoever made it. */
  readonly clock?: Clock
  /** From 0 up to 1; spreads the waits. */
  readonly random?: () => number
}

/** Milliseconds all. */
export interface WorkerRunnerSettings {
  /** Longest send before it is broken off: a hanging forwarder must not hold a slot for ever. Over any sane timeout of its own. */
  readonly sendTimeoutMs: number
  /** Waits between probes while blocked. People mend what blocks: minutes, not milliseconds; a minute late is fine. */
  readonly probe: { readonly first: number; readonly max: number }
  /** How often a slow envelope is written while it is in hand; bounds what a death sends twice. */
  readonly progressMs: number
  /** After which an envelope that can't be read is looked at again: it waits for another version of Sluice. */
  readonly unreadableMs: number
}

const defaults: WorkerRunnerSettings = {
  sendTimeoutMs: 60_000,
  probe: { first: 5_000, max: 60_000 },
  progressMs: 1_000,
  unreadableMs: 600_000,
}

export type WorkerState =
  | { readonly state: 'idle' | 'running' | 'closed' }
  /**
   * `blocked`: someone must act. `recovering`: it sends, and was blocked again and again until a moment ago: by a
   * message that blocks it whenever it comes up. `away`: the far side does not answer; it is tried again by itself. `since`: when it began.
   */
  | { readonly state: 'blocked' | 'recovering' | 'away'; readonly reason: string; readonly since: number }

export interface WorkerRunner {
  /** Takes messages from now on. The forwarder is opened meanwhile; where that fails the worker is blocked, not ended. */
  start(): void
  /**
   * Takes no further messages, finishes those in hand and closes the forwarder. Shortly before the deadline, sends are
   * broken off and what is undelivered is put back; what hangs even then is left as if the process had died.
   */
  close(deadlineMs: number): Promise<void>
  state(): WorkerState
}

/** Runs one worker: its queue on one side, its forwarder on the other. */
export function createWorkerRunner(options: WorkerRunnerOptions): WorkerRunner {
  const { worker, forwarder: definition, queues, metrics, openCredential } = options
  const settings = { ...defaults, ...options.settings }
  const clock = options.clock ?? unwatchedClock
  const log = options.log.with({ worker: worker.name })
  const scrub = (text: string) => options.redactor.scrub(text)
  const work = { owner: worker.name, part: 'work' } as const
  const stopping = new AbortController()
  const opening = createOpening({ worker, definition, openCredential, signal: stopping.signal, log })
  let state: 'idle' | 'running' | 'closed' = 'idle'
  let consumer: Consumer | undefined
  const memory = createTimeMemory({ clock, memo: queues.memo(worker.name), signal: stopping.signal, log })
  const { time } = memory
  /** When the first of the messages put back while blocked will be too old. */
  let heldExpiry = Infinity

  const breaker = createBreaker({
    worker: worker.name,
    waits: { blocked: settings.probe, away: awayWaits(worker.delivery.backoff, settings.probe.max) },
    check,
    due,
    pause: () => consumer?.pause(),
    resume: () => consumer?.resume(),
    log,
    metrics,
    now: () => clock.wall(),
  })
  const handle = createEnvelopeHandler({
    worker,
    definition,
    opened: () => opening.opened(),
    queues,
    breaker,
    gate: options.gate ?? createGate(),
    slots: createSlots(worker.delivery.concurrency),
    stopping: stopping.signal,
    held(expiry) {
      heldExpiry = Math.min(heldExpiry, expiry)
      consumer?.pause()
    },
    scrub,
    // Soon after things go on, whatever they were put back for.
    settings: { ...settings, heldMs: Math.min(200, settings.probe.first) },
    log,
    metrics,
    time,
    random: options.random ?? Math.random,
  })

  return {
    start() {
      if (state !== 'idle') return
      state = 'running'
      void memory.recalled.then(() => {
        if (state !== 'running') return
        // As many envelopes as sends: with envelopes of one batch each, all slots can still be busy.
        consumer = queues.consume<Envelope>(work, handle, { concurrency: worker.delivery.concurrency })
        if (breaker.blockage() !== undefined) consumer.pause()
      })
      // Opened now and not with the first message, so that a bad credential is said at start.
      opening.opened().catch((error: unknown) => breaker.block(reasonOf(messageOf(error), scrub)))
    },
    async close(deadlineMs) {
      if (state === 'closed') return
      state = 'closed'
      breaker.close()
      const remembered = memory.close()
      const marginMs = Math.min(2_000, deadlineMs / 5)
      const timer = setTimeout(() => stopping.abort(new Error('the worker is stopping')), deadlineMs - marginMs)
      await consumer?.close(deadlineMs)
      clearTimeout(timer)
      stopping.abort(new Error('the worker is stopping'))
      await remembered
      const closing = opening
        .close()
        .catch((error: unknown) => log.warn({ error: messageOf(error) }, 'closing the forwarder failed'))
      const patience = new AbortController()
      await Promise.race([closing, pause(marginMs, patience.signal)])
      patience.abort()
    },
    state() {
      const blockage = breaker.blockage()
      const lately = blockage === undefined ? breaker.comingBack() : undefined
      if (state === 'closed') return { state }
      if (lately !== undefined) return { ...lately, state: 'recovering' }
      return blockage === undefined
        ? { state }
        : { state: blockage.kind, reason: blockage.reason, since: blockage.since }
    },
  }

  async function check(): Promise<ProbeResult> {
    const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(settings.sendTimeoutMs)])
    const wasOpen = opening.isOpen()
    try {
      const opened = await unlessAborted(opening.opened(), signal)
      if (opened.check !== undefined) await unlessAborted(opened.check(signal), signal)
      // A forwarder that has just opened at last has answered what was asked; otherwise only a message can tell.
      else if (wasOpen) return 'unknown'
      return 'clear'
    } catch (error) {
      return { reason: reasonOf(messageOf(error), scrub) }
    }
  }

  /** Whether something kept is too old: among what was put back, or at the head of the queue, which is the oldest there. */
  async function due(): Promise<boolean> {
    if (heldExpiry <= time.now()) {
      heldExpiry = Infinity
      return true
    }
    const [head] = await queues.peek<Envelope>(work, 0, 1).catch(() => [])
    if (head === undefined || !isEnvelope(head.data)) return false
    return head.data.entries.some((entry) => isExpired(entry, worker.delivery, time))
  }
}

/** As the worker's own backoff, but never longer than a probe: when the far side is back, the whole queue waits for this. */
function awayWaits({ first, max }: WorkerDefinition['delivery']['backoff'], most: number): typeof defaults.probe {
  return { first: Math.min(first, most), max: Math.min(max, most) }
}
