import type { Closed } from '../../mqtt/link.ts'
import { sessionTakenOver } from '../../mqtt/refusal.ts'

/** A connection that is closed sooner than this may have been taken over. */
const shortMs = 10_000
/** So many in a row, each followed at once by a broker that lets us in again, are a fight between two clients with one id. */
const rounds = 3

/**
 * Tells when another client has our client id. A broker of MQTT 5 says so, if it is a good one; MQTT 3.1.1, and Mosquitto
 * 2.0.11 always, only close the connection [MQTT-3.1.4-2]. Two clients that both come back throw each other out without end, while a
 * broker that is ill or restarts doesn't let anybody in for a moment at least.
 */
export class TakeoverWatch {
  #since = 0
  #short = 0

  connected(now: number): void {
    this.#since = now
  }

  /** A try to connect failed, so the broker itself has a problem. */
  failed(): void {
    this.#short = 0
  }

  /** Whether the end of a connection was a takeover. */
  ended(closed: Closed, now: number): boolean {
    if (closed.code === sessionTakenOver) return true
    const silent = closed.by === 'broker' && closed.code === undefined
    if (!silent || now - this.#since > shortMs) {
      this.#short = 0
      return false
    }
    this.#short += 1
    return this.#short >= rounds
  }
}
