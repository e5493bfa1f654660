import type { Facts, Log } from '../../core/log.ts'

/** A burst is over when nothing has come for so long, in milliseconds. */
const quietMs = 60_000
/** Bursts that are told apart at once; those beyond share one, so that a flood from everywhere fills no disk. */
const toldApart = 100
const shared = 'others'

interface Burst {
  readonly facts: Facts
  readonly since: number
  lastAt: number
  refused: number
}

/** One line when failures begin to be refused, one with their number when they are over. Times are in milliseconds. */
export class Bursts {
  readonly #log: Log
  readonly #bursts = new Map<string, Burst>()

  constructor(log: Log) {
    this.#log = log
  }

  get size(): number {
    return this.#bursts.size
  }

  /** Something failed that leaves no room for more of it. */
  begin(key: string, facts: Facts, time: number): void {
    const running = this.#burst(key)
    if (running !== undefined) return void (running.lastAt = time)
    const apart = this.#bursts.size < toldApart
    const told = apart ? facts : { from: `more than ${toldApart} at once` }
    this.#bursts.set(apart ? key : shared, { facts: told, since: time, lastAt: time, refused: 0 })
    this.#log.warn(told, 'too many failed authentications; further ones are refused without a look for a while')
  }

  /** Something was refused without a look. */
  refused(key: string, time: number): void {
    const running = this.#burst(key)
    if (running === undefined) return
    running.lastAt = time
    running.refused += 1
  }

  /** Ends what has become quiet; with `all`, everything. */
  sweep(time: number, all = false): void {
    for (const [key, { facts, since, lastAt, refused }] of this.#bursts) {
      if (!all && time - lastAt < quietMs) continue
      this.#bursts.delete(key)
      const seconds = Math.round((lastAt - since) / 1000)
      this.#log.warn({ ...facts, refused, seconds }, 'the failed authentications are over')
    }
  }

  #burst(key: string): Burst | undefined {
    return this.#bursts.get(key) ?? this.#bursts.get(shared)
  }
}
