import type { Room } from '../core/room.ts'
import type { Backlog, Capacity } from './capacity.ts'

/** Room in several stores, each of which is bounded by itself. */
export class DividedRoom implements Room {
  readonly #shared: Capacity
  readonly #own: ReadonlyMap<string, Capacity>
  readonly #troubleOf: (owner: string) => string | undefined

  /** `troubleOf`: why nothing can be added for an owner with a store of its own. */
  constructor(shared: Capacity, own: ReadonlyMap<string, Capacity>, troubleOf: (owner: string) => string | undefined) {
    this.#shared = shared
    this.#own = own
    this.#troubleOf = troubleOf
  }

  /** What one store can't take is no reason to refuse what goes to others only. */
  complain(owners: Iterable<string>): string | undefined {
    if (this.#own.size === 0) return this.#shared.complain(owners)
    const others: string[] = []
    let hasOwn = false
    for (const owner of owners) {
      const own = this.#own.get(owner)
      if (own === undefined) {
        others.push(owner)
        continue
      }
      hasOwn = true
      const because = this.#troubleOf(owner) ?? own.complain([owner])
      if (because !== undefined) return because
    }
    return hasOwn && others.length === 0 ? undefined : this.#shared.complain(others)
  }

  dropsNewest(worker: string): boolean {
    return this.#of(worker).dropsNewest(worker)
  }

  adding(owner: string, bytes: number): void {
    this.#of(owner).adding(owner, bytes)
  }

  overBy(owner: string): number {
    return this.#of(owner).overBy(owner)
  }

  backlogOf(owner: string): Backlog | undefined {
    return this.#of(owner).backlogOf(owner)
  }

  #of(owner: string): Capacity {
    return this.#own.get(owner) ?? this.#shared
  }
}
