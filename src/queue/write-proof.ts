import { QueueAwayError, SluiceError } from '../core/errors.ts'

/** How long the end of a write speaks for the next one. 1 s: as often as anybody asks, at most one write a second is made for it. */
const lastsMs = 1_000

type Ended = { readonly at: number; readonly error: unknown }

/**
 * Whether the queue takes writes now. A Redis that is full, read-only or can't write its file, and a disk that is full, answer every question
 * and take nothing, so only a write shows it: one that was made anyway and ended within the last second, or else `write`, made for
 * this. A busy queue pays nothing, and those who ask at once share one.
 */
export class WriteProof {
  readonly #write: () => Promise<void>
  readonly #now: () => number
  #last: Ended | undefined
  #asking: Promise<void> | undefined

  constructor(write: () => Promise<void>, now: () => number = () => performance.now()) {
    this.#write = write
    this.#now = now
  }

  /** Runs a write that is made anyway and remembers how it ended. */
  async of(write: () => Promise<void>): Promise<void> {
    try {
      await write()
      this.#end(undefined)
    } catch (error) {
      // What is wrong with this one write says nothing of the next.
      if (error instanceof QueueAwayError || !(error instanceof SluiceError)) this.#end(error)
      throw error
    }
  }

  /** Resolves when the queue takes writes; throws what a write throws. */
  async ask(): Promise<void> {
    const last = this.#last
    if (last !== undefined && this.#now() - last.at < lastsMs) {
      if (last.error !== undefined) throw last.error
      return
    }
    this.#asking ??= this.of(this.#write).finally(() => (this.#asking = undefined))
    return this.#asking
  }

  #end(error: unknown): void {
    this.#last = { at: this.#now(), error }
  }
}
