import type { AnyForwarderDefinition, Forwarder, Item } from '../core/forwarder.ts'
import type { Outcome } from '../core/outcome.ts'

/** One answer of a far side about one message, as `sluice publish` shows it. */
export interface Trace {
  readonly id: string
  readonly at: number
  readonly worker: string
  readonly kind: string
  readonly rule: string
  readonly outcome: Outcome['kind']
  readonly reason?: string
  /** What went out, as text, its first characters only. */
  readonly preview: string
}

/** Answers that are remembered: enough for somebody who has just published one message, and nothing to worry about in memory. */
const remembered = 1_000
const previewBytes = 300

/** Remembers the latest answers of far sides in this process, so that a person can see a message come out of a worker. */
export class Tracer {
  readonly #ring: (Omit<Trace, 'preview'> & { readonly start: Buffer; readonly cut: boolean })[] = []
  #next = 0
  readonly #waiting = new Set<() => void>()
  #closed = false

  /** The same definition, with its answers remembered. */
  traced(worker: string, definition: AnyForwarderDefinition): AnyForwarderDefinition {
    return {
      ...definition,
      open: async (settings: unknown, context: never) => {
        const forwarder = (await definition.open(settings, context)) as Forwarder
        const traced: Forwarder = {
          send: async (batch, signal, arrived) => {
            const outcomes = await forwarder.send(batch, signal, arrived)
            for (const [index, item] of batch.entries()) this.#remember(worker, definition.kind, item, outcomes[index])
            this.#wake()
            return outcomes
          },
          close: () => forwarder.close(),
        }
        return forwarder.check === undefined
          ? traced
          : { ...traced, check: async (signal: AbortSignal) => forwarder.check?.(signal) }
      },
    }
  }

  /** What is known of a message. Where nothing is, waits up to `waitMs` for the first answer, or until `signal`. */
  async find(id: string, waitMs: number, signal?: AbortSignal): Promise<readonly Trace[]> {
    const end = performance.now() + waitMs
    for (;;) {
      const found = this.#ring.filter((trace) => trace.id === id)
      const left = end - performance.now()
      if (found.length > 0 || left <= 0 || this.#closed || signal?.aborted === true)
        return found.map(({ start, cut, ...trace }) => ({ ...trace, preview: previewOf(start, cut) }))
      await this.#answer(left, signal)
    }
  }

  /** Those who wait are answered with what there is, now and from now on. */
  close(): void {
    this.#closed = true
    this.#wake()
  }

  #remember(worker: string, kind: string, item: Item, outcome: Outcome | undefined): void {
    if (outcome === undefined) return
    // Not yet about this message: it is sent again with fewer beside it.
    if (outcome.kind === 'rejected' && outcome.together !== undefined) return
    const reason = 'reason' in outcome ? { reason: outcome.reason } : {}
    const trace = { id: item.id, at: Date.now(), worker, kind, rule: item.rule, outcome: outcome.kind, ...reason }
    // A copy: a part of the payload would keep all of it, and what it was cut from, in memory.
    const start = Buffer.from(item.payload.subarray(0, previewBytes))
    this.#ring[this.#next] = { ...trace, start, cut: item.payload.length > previewBytes }
    this.#next = (this.#next + 1) % remembered
  }

  #answer(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        this.#waiting.delete(wake)
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      this.#waiting.add(wake)
      signal?.addEventListener('abort', wake)
    })
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
  }
}

/** As text for a terminal: what devices send must not move its cursor. */
function previewOf(start: Buffer, cut: boolean): string {
  // `stream` leaves out a character that the cut went through.
  const text = new TextDecoder().decode(start, { stream: cut }).replaceAll(/\p{Cc}/gu, '\uFFFD')
  return cut ? `${text}…` : text
}
