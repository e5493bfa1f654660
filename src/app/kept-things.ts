import type { AuthMethodContext } from '../identity/method.ts'

interface Kept {
  readonly thing: { close?: () => void }
  /** The newest snapshot that has asked for it. */
  wantedBy: number
}

/** How long something that no method of the newest snapshot has asked for stays: a call that is under way may still use it. */
const graceMs = 30_000

/**
 * What auth methods keep beyond a reload: caches of keys, child processes. Each snapshot asks for what it needs by key; what the
 * newest one has not asked for a while after it came into force is closed.
 */
export class KeptThings {
  readonly #kept = new Map<string, Kept>()
  #snapshot = 0
  #timer: NodeJS.Timeout | undefined

  /** For a new snapshot of the identities. */
  next(): { readonly keep: AuthMethodContext['keep']; readonly inForce: () => void } {
    const snapshot = (this.#snapshot += 1)
    return {
      keep: <Thing extends { close?: () => void }>(key: string, make: () => Thing): Thing => {
        let kept = this.#kept.get(key)
        if (kept === undefined) {
          kept = { thing: make(), wantedBy: snapshot }
          this.#kept.set(key, kept)
        }
        kept.wantedBy = Math.max(kept.wantedBy, snapshot)
        // The key says what it is, so under one key everybody makes the same kind of thing.
        return kept.thing as Thing
      },
      inForce: () => {
        clearTimeout(this.#timer)
        this.#timer = setTimeout(() => this.#letGo(snapshot), graceMs).unref()
      },
    }
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#letGo(Infinity)
  }

  #letGo(snapshot: number): void {
    for (const [key, { thing, wantedBy }] of this.#kept) {
      if (wantedBy >= snapshot) continue
      this.#kept.delete(key)
      thing.close?.()
    }
  }
}
