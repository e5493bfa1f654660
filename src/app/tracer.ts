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
  readonly #ring: { readonly item: Item; readonly trace: Omit<Trace, 'preview'> }[] = []
  #next = 0
  readonly #waiting = new Set<() => void>()

  /** The same definition, with its answers remembered. */
  traced(worker: string, definition: AnyForwarderDefinition): AnyForwarderDefinition {
    return {
      ...definition,
      open: async (settings: unknown, context: never) => {
        const forwarder = (await definition.open(settings, context)) as Forwarder
        return {
          ...forwarder,
          send: async (batch: readonly Item[], signal: AbortSignal) => {
            const outcomes = await forwarder.send(batch, signal)
            for (const [index, item] of batch.entries()) this.#remember(worker, definition.kind, item, outcomes[index])
            this.#wake()
            return outcomes
          },
        }
      },
    }
  }

  /** What is known of a message. Where nothing is, waits up to `waitMs` for the first answer. */
  async find(id: string, waitMs: number): Promise<readonly Trace[]> {
    const end = performance.now() + waitMs
    for (;;) {
      const found = this.#ring.filter(({ trace }) => trace.id === id)
      const left = end - performance.now()
      if (found.length > 0 || left <= 0)
        return found.map(({ item, trace }) => ({ ...trace, preview: previewOf(item.payload) }))
      await this.#answer(left)
    }
  }

  #remember(worker: string, kind: string, item: Item, outcome: Outcome | undefined): void {
    if (outcome === undefined) return
    const reason = 'reason' in outcome ? { reason: outcome.reason } : {}
    const trace = { id: item.id, at: Date.now(), worker, kind, rule: item.rule, outcome: outcome.kind, ...reason }
    this.#ring[this.#next] = { item, trace }
    this.#next = (this.#next + 1) % remembered
  }

  #answer(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        this.#waiting.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      this.#waiting.add(wake)
    })
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake()
  }
}

function previewOf(payload: Buffer): string {
  const text = payload.subarray(0, previewBytes).toString('utf8')
  return payload.length > previewBytes ? `${text}…` : text
}
