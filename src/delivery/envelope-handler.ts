import type { Envelope, Failure } from '../core/envelope.ts'
import { messageOf } from '../core/errors.ts'
import type { AnyForwarderDefinition, Forwarder } from '../core/forwarder.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import type { Handled, Handler, Job, Queues } from '../core/queue.ts'
import type { Outcome } from '../core/outcome.ts'
import { sumOfTallies, tallyOf } from '../core/tally.ts'
import type { WorkerDefinition } from '../core/worker.ts'
import { backoffMs } from '../core/backoff.ts'
import { cutBatches, prepareItems, type Prepared } from './batches.ts'
import type { Breaker } from './breaker.ts'
import type { Gate, Slots } from './gate.ts'
import { isSuspicious, marked, resume } from './isolation.ts'
import { createFates, type Fates } from './fates.ts'
import { unlessAborted } from './pause.ts'
import { handOver, persist } from './persist.ts'
import { createProgress } from './progress.ts'
import { complaintAbout, isEnvelope } from './readable.ts'
import { sendBatch } from './send.ts'
import type { SeenTime } from './seen-time.ts'
import { reasonOf, type Scrub } from './text.ts'

export interface EnvelopeHandlerContext {
  readonly worker: WorkerDefinition
  readonly definition: AnyForwarderDefinition
  readonly opened: () => Promise<Forwarder>
  readonly queues: Queues
  readonly breaker: Breaker
  readonly gate: Gate
  readonly slots: Slots
  /** Aborts what is being sent, a little before the deadline of a stop. */
  readonly stopping: AbortSignal
  /** Called when messages go back because nothing can be sent, with the (seen) time at which the first of them will be too old. */
  readonly held: (expiry: number) => void
  readonly scrub: Scrub
  readonly settings: {
    readonly sendTimeoutMs: number
    readonly progressMs: number
    /** After which an envelope that can't be read is looked at again. */
    readonly unreadableMs: number
    /** After which what is put back while blocked comes up again; the consumer is paused meanwhile. */
    readonly heldMs: number
  }
  readonly log: Log
  readonly metrics: Metrics
  readonly time: SeenTime
  readonly random: () => number
}

/** Between two lines about messages given up: a far side that rejects everything must not flood the log. The metric counts each. */
const quietMs = 1_000

/** Complaints about what can't be read that are told apart; whoever writes such things must not fill our memory with them. */
const mostComplaints = 20

/** An envelope in hand. */
interface Hand {
  readonly job: Job<Envelope>
  readonly envelope: Envelope
  readonly fates: Fates
  readonly signal: AbortSignal
  /** Messages to be tried again because the far side, or the way to it, said so. */
  retried: number
}

/**
 * Delivers one envelope: what is delivered leaves it, what has finally failed goes to the failures queue, and the rest is
 * put back for later. INVARIANT: an entry leaves the stored job only when it is delivered, or after its failure is durable.
 */
export function createEnvelopeHandler(context: EnvelopeHandlerContext): Handler<Envelope> {
  const { worker, definition, queues, breaker, gate, slots, settings, log, metrics, time } = context
  const fatesContext = { worker: worker.name, policy: worker.delivery, time, scrub: context.scrub }
  const said = new Set<string>()
  /** Messages given up since the last line about it. */
  let unsaid = 0
  let quietUntil = 0

  return async function handle(job, jobSignal) {
    if (!isEnvelope(job.data)) return leave(job)
    const signal = AbortSignal.any([jobSignal, context.stopping])
    const { envelope, start, deaths, killer } = resume(job.data, worker.name, time.wall())
    if (killer !== undefined) {
      await give([killer], job, envelope.round ?? 0, jobSignal)
      await persist(() => job.update(envelope), jobSignal, log)
    }
    const fates = createFates(envelope.entries, fatesContext)
    fates.expireOld()
    const hand: Hand = { job, envelope, fates, signal, retried: 0 }
    try {
      if (isSuspicious(job) || job.data.suspect !== undefined) await sendAlone(hand, start, deaths)
      else await sendTogether(hand)
    } finally {
      breaker.unused()
    }
    return finish(hand, jobSignal)
  }

  async function sendTogether(hand: Hand): Promise<void> {
    const items = prepare(hand)
    const way = items.length === 0 ? 'shut' : await openWay(hand)
    if (way === 'shut') return
    const [first, ...others] = cutBatches(items, definition.limits)
    if (first === undefined) return
    const progress = createProgress(hand.job, () => stored(hand), settings.progressMs, log)
    const send = (batch: readonly Prepared[], onTrial = false) =>
      slots.run(() =>
        gate.shared(async () => {
          if (hand.signal.aborted || (breaker.blockage() !== undefined && !onTrial)) return
          await sendOne(hand, way.forwarder, batch, () => progress.noted())
        }),
      )
    try {
      const sent = send(first, way.passage === 'trial')
      if (way.passage === 'trial') await sent
      await Promise.all([sent, ...others.map((batch) => send(batch))])
    } finally {
      await progress.ended()
    }
  }

  /** One message at a time, with nothing else being sent in this process; the mark in the stored job says which. */
  async function sendAlone(hand: Hand, start: number, deathsAtStart: number): Promise<void> {
    const { job, fates, signal } = hand
    log.warn(
      { job: job.id, deaths: job.deaths },
      'this envelope ended several processes; its messages are sent one at a time',
    )
    for (const prepared of prepare(hand)) {
      if (prepared.index < start) continue
      const way = await openWay(hand)
      if (way === 'shut' || signal.aborted) return
      const deaths = prepared.index === start ? deathsAtStart : 0
      await gate.exclusive(async () => {
        const mark = { index: fates.undeliveredBefore(prepared.index), deaths }
        await persist(() => job.update(stored(hand, mark)), signal, log)
        await sendOne(hand, way.forwarder, [prepared])
        await persist(() => job.update(stored(hand)), signal, log)
      })
    }
  }

  /** Makes items of what is to be sent; what the forwarder's schema refuses is rejected on the spot. */
  function prepare(hand: Hand): readonly Prepared[] {
    const { envelope, fates } = hand
    const { items, unfit } = prepareItems(envelope.entries, fates.due(), worker.with, definition.with)
    for (const { index, reason } of unfit) fates.record(index, { kind: 'rejected', reason })
    return items
  }

  async function openWay({ signal }: Hand): Promise<'shut' | { forwarder: Forwarder; passage: 'open' | 'trial' }> {
    if (signal.aborted) return 'shut'
    const passage = breaker.passage()
    if (passage === 'shut') return 'shut'
    try {
      return { forwarder: await unlessAborted(context.opened(), signal), passage }
    } catch (error) {
      if (!signal.aborted) breaker.block(reasonOf(messageOf(error), context.scrub))
      return 'shut'
    }
  }

  /** Sends one batch and records what comes of it, as it comes; `noted` is called when something was delivered. */
  async function sendOne(
    hand: Hand,
    forwarder: Forwarder,
    batch: readonly Prepared[],
    noted = () => {},
  ): Promise<void> {
    const { fates, signal } = hand
    let answered = false
    let silence: string | undefined
    let blocked: string | undefined
    const record = (outcomes: ReadonlyMap<number, Outcome>) => {
      let delivered = 0
      for (const [place, outcome] of outcomes) {
        const index = batch[place]?.index
        const unanswered = outcome.kind === 'retry' && !outcome.answered
        // A send that we broke off says nothing about the message.
        if (index === undefined || (unanswered && signal.aborted)) continue
        const { kind } = fates.record(index, outcome)
        if (kind === 'delivered') delivered += 1
        if (kind === 'again' && outcome.kind === 'retry') hand.retried += 1
        if (outcome.kind === 'blocked') blocked ??= outcome.reason
        else if (unanswered) silence ??= outcome.reason
        else answered = true
      }
      if (delivered === 0) return
      metrics.count('sluice_deliveries_total', { worker: worker.name, outcome: 'delivered' }, delivered)
      noted()
    }
    const items = batch.map(({ item }) => item)
    await sendBatch(items, { forwarder, signal, timeoutMs: settings.sendTimeoutMs, log }, record)
    if (blocked !== undefined) breaker.block(reasonOf(blocked, context.scrub))
    else if (answered) breaker.answered()
    else if (silence !== undefined) breaker.unanswered(reasonOf(silence, context.scrub))
  }

  /** What a successor is to find of an envelope in hand. */
  function stored({ envelope, fates }: Hand, suspect?: Envelope['suspect']): Envelope {
    return marked(envelope, fates.undelivered(), sumOfTallies(envelope.left ?? [], fates.delivered()), suspect)
  }

  async function finish(hand: Hand, jobSignal: AbortSignal): Promise<Handled<Envelope>> {
    const { job, envelope, fates } = hand
    const round = envelope.round ?? 0
    const failures = fates.failures()
    if (failures.length > 0) await give(failures, job, round, jobSignal)
    const entries = fates.rest()
    const givenUp = tallyOf(
      failures.map(({ entry }) => entry),
      'given-up',
    )
    const left = [envelope.left ?? [], fates.delivered(), givenUp].reduce(sumOfTallies)
    if (entries.length === 0) return { kind: 'done', tally: left }
    const labels = { worker: worker.name, outcome: 'retried' }
    if (hand.retried > 0) metrics.count('sluice_deliveries_total', labels, hand.retried)

    // The very same data tells the queue that there is nothing to write.
    const unchanged = job.data.suspect === undefined && fates.untouched().length === envelope.entries.length
    const data = unchanged ? job.data : marked(envelope, entries, left)
    // The shortest wait of its messages is the envelope's: those that must wait longer are passed over when it comes up. And never
    // past the time at which a message is too old: it is to be given up then, not whenever its turn comes.
    const expiry = fates.nextExpiry()
    const waitAtLeast = (ms: number) => Math.min(Math.max(ms, fates.dueIn()), Math.max(0, expiry - time.now()))
    if (breaker.blockage() !== undefined) {
      context.held(expiry)
      return { kind: 'again', data, afterMs: Math.max(settings.heldMs, waitAtLeast(0)) }
    }
    if (hand.retried === 0) return { kind: 'again', data, afterMs: waitAtLeast(0) }
    const afterMs = waitAtLeast(backoffMs(worker.delivery.backoff, round, context.random))
    log.debug({ job: job.id, messages: entries.length, round, afterMs }, 'put back to try again')
    return { kind: 'again', data: { ...marked(envelope, entries, left), round: round + 1 }, afterMs }
  }

  async function give(
    failures: readonly Failure[],
    job: Job<Envelope>,
    round: number,
    signal: AbortSignal,
  ): Promise<void> {
    await persist(() => handOver(queues, worker.name, failures, { job: job.id, round }), signal, log)
    metrics.count('sluice_deliveries_total', { worker: worker.name, outcome: 'failed' }, failures.length)
    unsaid += failures.length
    const [example] = failures
    if (example === undefined || performance.now() < quietUntil) return
    const { kind, reason, entry } = example
    log.warn({ messages: unsaid, example: { traceId: entry.id, rule: entry.rule, kind, reason } }, 'given up')
    unsaid = 0
    quietUntil = performance.now() + quietMs
  }

  function leave(job: Job<Envelope>): Handled<Envelope> {
    const complaint = complaintAbout(job.data)
    if (!said.has(complaint) && said.size < mostComplaints) {
      said.add(complaint)
      log.error({ job: job.id, complaint }, 'an envelope cannot be read; it is left in the queue')
    }
    return { kind: 'again', data: job.data, afterMs: settings.unreadableMs }
  }
}
