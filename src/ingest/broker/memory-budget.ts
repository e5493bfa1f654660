/** Room that all clients share. Who would take more than there is has to wait until a good part of it is free again. */
export class MemoryBudget {
  readonly #limit: number
  #used = 0
  readonly #waiting = new Set<() => void>()

  constructor(limit: number) {
    this.#limit = limit
  }

  take(bytes: number): void {
    this.#used += bytes
  }

  release(bytes: number): void {
    this.#used -= bytes
    // Not at the first free byte, or sockets would flap between reading and not.
    if (this.#waiting.size === 0 || this.#used > this.#limit * 0.75) return
    const resumed = [...this.#waiting]
    this.#waiting.clear()
    for (const resume of resumed) resume()
  }

  /** Whether more is in use than there is. */
  get full(): boolean {
    return this.#used > this.#limit
  }

  /** Whether so much more would still be within it, for who goes without rather than wait. */
  hasRoomFor(bytes: number): boolean {
    return this.#used + bytes <= this.#limit
  }

  /** Calls `resume` once, when there is room again. */
  wait(resume: () => void): void {
    this.#waiting.add(resume)
  }

  forget(resume: () => void): void {
    this.#waiting.delete(resume)
  }
}
