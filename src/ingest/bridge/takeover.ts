import type { Closed } from '../../mqtt/link.ts'
import { sessionTakenOver } from '../../mqtt/refusal.ts'

/** A connection that is closed sooner than this may have been taken over. */
const shortMs = 10_000
/** So many in a row, each followed at once by a broker that lets us in again, are a fight between two clients with one id. */
const rounds = 5

/**
 * Tells when another client has our client id. MQTT 5 says so. MQTT 3.1.1 only closes the connection [MQTT-3.1.4-2]: two clients that both
 * come back throw each other out without end, while a broker that is ill doesn't let anybody in, now and then at least.
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
  ended(closed: Closed, version: number, now: number): boolean {
    if (closed.code === sessionTakenOver) return true
    if (version === 5 || closed.by === 'us' || now - this.#since > shortMs) {
      this.#short = 0
      return false
    }
    this.#short += 1
    return this.#short >= rounds
  }
}
