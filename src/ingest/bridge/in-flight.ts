import { Fifo } from '../../mqtt/fifo.ts'

/** A message of one connection that waits for its acknowledgement. */
export interface Place {
  readonly packetId: number
  readonly qos: number
  /** What to answer; undefined while it isn't known. */
  reason: number | undefined
}

/**
 * Messages of one connection in the order in which they came. They are acknowledged in that order [MQTT-4.6.0-2], however
 * they are decided. Kept by order and not by packet id, because Mosquitto gives an id to two messages at a time when many are in flight,
 * and takes an acknowledgement for the first of them (feasibility-doors §2).
 */
export class InFlight {
  readonly #acknowledge: (place: Place, reason: number) => void
  readonly #places = new Fifo<Place>()
  /** Decided and not yet acknowledged. */
  #decided = 0

  constructor(acknowledge: (place: Place, reason: number) => void) {
    this.#acknowledge = acknowledge
  }

  /** Messages not yet acknowledged. */
  get size(): number {
    return this.#places.size
  }

  /** Whether a message is decided and can't be acknowledged yet, because one before it isn't: the broker would send it again. */
  get blocked(): boolean {
    return this.#decided > 0
  }

  add(packetId: number, qos: number): Place {
    const place = { packetId, qos, reason: undefined }
    this.#places.push(place)
    return place
  }

  /** Decides a message, and acknowledges it and those behind it that have waited for it only. */
  settle(place: Place, reason: number): void {
    place.reason = reason
    this.#decided += 1
    for (let first = this.#places.first(); first?.reason !== undefined; first = this.#places.first()) {
      this.#places.shift()
      this.#decided -= 1
      this.#acknowledge(first, first.reason)
    }
  }
}
