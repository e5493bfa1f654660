import { type Backoff, backoffMs } from '../../core/backoff.ts'

/** How an offer went: taken (accepted or refused), or not now, with the wish to wait so long. */
export type Offered = { readonly kind: 'settled' } | { readonly kind: 'later'; readonly afterMs: number }

/** Something that is kept in hand until it is settled. */
export interface Holdable {
  /** Counts up in the order of arrival. */
  readonly number: number
}

/**
 * Messages that were answered `later`. After a wait the oldest is offered alone, to find out; when it is settled, the
 * others follow at once, in the order of arrival. So a queue that is away for an hour is asked now and then, not a thousand times.
 */
export class Hold<Entry extends Holdable> {
  readonly #offer: (entry: Entry) => Promise<Offered>
  readonly #backoff: Backoff
  readonly #changed: () => void
  #entries: Entry[] = []
  #timer: NodeJS.Timeout | undefined
  #round = 0
  #trying = false
  #closed = false

  /** `offer` never rejects and doesn't keep what is answered `later`: the hold does. `changed`: `busy` may have become false. */
  constructor(offer: (entry: Entry) => Promise<Offered>, backoff: Backoff, changed: () => void) {
    this.#offer = offer
    this.#backoff = backoff
    this.#changed = changed
  }

  /** Whether anything is held, or is being tried again. */
  get busy(): boolean {
    return this.#entries.length > 0 || this.#trying
  }

  some(which: (entry: Entry) => boolean): boolean {
    return this.#entries.some(which)
  }

  keep(entry: Entry, afterMs: number): void {
    this.#entries.push(entry)
    if (!this.#trying) this.#schedule(afterMs)
  }

  /** Lets go of entries without an answer, and gives them. */
  forget(which: (entry: Entry) => boolean): readonly Entry[] {
    const gone = this.#entries.filter(which)
    if (gone.length > 0) this.#entries = this.#entries.filter((entry) => !which(entry))
    return gone
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #schedule(afterMs: number): void {
    if (this.#closed || this.#timer !== undefined) return
    const wait = Math.min(Math.max(afterMs, backoffMs(this.#backoff, this.#round)), this.#backoff.max)
    this.#timer = setTimeout(() => void this.#try(), wait)
  }

  async #try(): Promise<void> {
    this.#timer = undefined
    this.#entries.sort((one, other) => one.number - other.number)
    const first = this.#entries.shift()
    if (first === undefined) return
    this.#trying = true
    const offered = await this.#offer(first)
    if (offered.kind === 'later') {
      this.#entries.unshift(first)
      this.#round += 1
      this.#trying = false
      return this.#schedule(offered.afterMs)
    }
    this.#round = 0
    const others = this.#entries.splice(0)
    let afterMs = 0
    await Promise.all(
      others.map(async (entry) => {
        const again = await this.#offer(entry)
        if (again.kind === 'settled') return
        this.#entries.push(entry)
        afterMs = Math.max(afterMs, again.afterMs)
      }),
    )
    this.#trying = false
    if (this.#entries.length > 0) this.#schedule(afterMs)
    this.#changed()
  }
}
