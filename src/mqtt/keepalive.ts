/** What a keepalive needs of its connection. */
export interface Alive {
  /** Sends PINGREQ. */
  ping(): void
  /** Whether nothing is read at the moment because we don't want to. */
  paused(): boolean
  /** The broker has been silent for too long. */
  dead(): void
}

/**
 * Sends PINGREQ twice per keep alive interval [MQTT-3.1.2-20], whatever else is going on, and takes a broker for dead that
 * sends nothing for one interval after it. A broker is never dead while we ourselves don't read: its PINGRESP may well
 * be waiting in front of our door. Counted in ticks, not in time: after a process was stopped for a while, one late tick
 * proves nothing.
 */
export class Keepalive {
  readonly #alive: Alive
  readonly #timer: NodeJS.Timeout
  #silentTicks = 0

  constructor(intervalMs: number, alive: Alive) {
    this.#alive = alive
    this.#timer = setInterval(() => this.#tick(), Math.max(1, Math.floor(intervalMs / 2)))
  }

  /** Something has come, or reading has just begun again. */
  heard(): void {
    this.#silentTicks = 0
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #tick(): void {
    if (this.#alive.paused()) this.#silentTicks = 0
    if (this.#silentTicks >= 3) return this.#alive.dead()
    this.#silentTicks += 1
    this.#alive.ping()
  }
}
