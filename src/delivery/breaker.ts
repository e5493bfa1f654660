import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'

/** Whether a message may be sent now; `trial`: one batch may, to find out, and this caller is the one. */
export type Passage = 'open' | 'shut' | 'trial'

/** What a probe found: the way is clear; it can't tell without a message; or it is still blocked, and why. */
export type ProbeResult = 'clear' | 'unknown' | { readonly reason: string }

/** Why nothing is sent. `blocked`: someone must act. `away`: the far side gives no answer, to whatever is sent. */
export interface Blockage {
  readonly kind: 'blocked' | 'away'
  readonly reason: string
  /** Milliseconds since 1970. */
  readonly since: number
}

export interface Breaker {
  /** Asked before each sending. After `trial` the caller owes `answered`, `unanswered`, `block` or `unused`. */
  passage(): Passage
  /** Nothing can be delivered until someone acts. */
  block(reason: string): void
  /** The far side looked at what was sent, whatever it said. */
  answered(): void
  /** Nothing of what was sent got an answer. A wait that was asked for is the message's own and stops nothing here. */
  unanswered(reason: string): void
  /** There was nothing to send after all. Nothing happens where no trial is on. */
  unused(): void
  blockage(): Blockage | undefined
  /** The block that has come back before and ended a short while ago: until it has stayed away, nobody can say that it is over. */
  comingBack(): Blockage | undefined
  close(): void
}

/** Waits that double from `first` to `max`; milliseconds. */
interface Waits {
  readonly first: number
  readonly max: number
}

export interface BreakerOptions {
  readonly worker: string
  /** Waits between looks while blocked, and while the far side is away. */
  readonly waits: { readonly blocked: Waits; readonly away: Waits }
  readonly check: () => Promise<ProbeResult>
  /** Whether a message that is kept has grown too old and must be let go of although nothing can be sent. */
  readonly due: () => Promise<boolean>
  readonly pause: () => void
  readonly resume: () => void
  readonly log: Log
  readonly metrics: Metrics
  readonly now: () => number
}

/**
 * Sends in a row without any answer after which a far side counts as away. A few, so that a lost connection costs
 * nothing; not many, because each one writes an envelope back to the queue.
 */
const awayAfter = 5

/**
 * Holds a worker's deliveries while nothing can be delivered: pauses it, says so once, looks again with growing waits and
 * lets it go on. The messages stay in the queue. While it holds, the consumer runs only to let go of what has grown too
 * old, or to fetch the one batch of a trial. Without it an outage would turn the whole queue over again and again.
 */
export function createBreaker(options: BreakerOptions): Breaker {
  const { worker, log, metrics, now } = options
  let blockage: Blockage | undefined
  /** The block before this moment, when it ended, and whether it was one that came back. */
  let before: { readonly blockage: Blockage; readonly ended: number; readonly again: boolean } | undefined
  let again = false
  let trial: 'none' | 'offered' | 'taken' = 'none'
  let missed = 0
  let wait = 0
  let timer: NodeJS.Timeout | undefined
  let closed = false
  /** By a clock that doesn't step. */
  let heldSince = 0
  metrics.set('sluice_worker_blocked', { worker }, 0)

  return {
    passage() {
      if (blockage === undefined) return 'open'
      if (trial !== 'offered') return 'shut'
      trial = 'taken'
      options.pause()
      return 'trial'
    },
    block(reason) {
      hold('blocked', reason)
    },
    answered() {
      missed = 0
      wait = 0
      if (blockage?.kind === 'away' || trial === 'taken') release()
    },
    unanswered(reason) {
      missed += 1
      // A send that was on its way before a block, or the trial of a block: the far side is away, perhaps still blocked.
      if (blockage !== undefined) trial = 'none'
      else if (missed >= awayAfter) hold('away', reason)
    },
    unused() {
      if (trial !== 'taken' || closed) return
      trial = 'offered'
      options.resume()
    },
    blockage: () => blockage,
    comingBack: () => (before?.again === true ? lately() : undefined),
    close() {
      closed = true
      clearTimeout(timer)
    },
  }

  function hold(kind: Blockage['kind'], reason: string): void {
    trial = 'none'
    if (closed) return
    options.pause()
    if (blockage === undefined) heldSince = performance.now()
    if (blockage?.kind !== kind) say(kind, reason)
    // One that comes back at once is the same: a message that blocks, between others that don't.
    const first = blockage ?? (kind === 'blocked' ? lately() : undefined)
    if (blockage === undefined) again = first !== undefined
    blockage = { kind, reason, since: first?.since ?? now() }
    schedule()
  }

  function lately(): Blockage | undefined {
    const isLate = before !== undefined && now() - before.ended < 2 * options.waits.blocked.max
    return isLate ? before?.blockage : undefined
  }

  function say(kind: Blockage['kind'], reason: string): void {
    if (kind === 'away') return log.warn({ reason }, 'the far side does not answer; the messages are kept')
    log.error({ reason }, 'blocked: nothing can be delivered until someone acts; the messages are kept')
    metrics.set('sluice_worker_blocked', { worker }, 1)
  }

  function schedule(): void {
    if (closed || timer !== undefined || blockage === undefined) return
    const { first, max } = options.waits[blockage.kind]
    wait = Math.min(Math.max(wait * 2, first), max)
    timer = setTimeout(() => {
      void look().finally(() => {
        timer = undefined
        schedule()
      })
    }, wait)
  }

  async function look(): Promise<void> {
    if (trial === 'taken') return
    const found = blockage?.kind === 'away' ? 'unknown' : await check()
    if (closed || blockage === undefined) return
    if (found === 'clear') return release()
    if (found === 'unknown') return offer()
    if (found.reason !== blockage.reason) log.warn({ reason: found.reason }, 'still blocked, for another reason')
    blockage = { ...blockage, reason: found.reason }
    if (await options.due()) options.resume()
    else options.pause()
  }

  async function check(): Promise<ProbeResult> {
    return options.check().catch((error: unknown) => ({ reason: messageOf(error) }))
  }

  function offer(): void {
    trial = 'offered'
    options.resume()
  }

  function release(): void {
    if (blockage === undefined || closed) return
    log.info(
      { heldForMs: Math.round(performance.now() - heldSince) },
      blockage.kind === 'away' ? 'the far side answers' : 'no longer blocked',
    )
    metrics.set('sluice_worker_blocked', { worker }, 0)
    before = blockage.kind === 'blocked' ? { blockage, ended: now(), again } : undefined
    blockage = undefined
    trial = 'none'
    missed = 0
    options.resume()
  }
}
