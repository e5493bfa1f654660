import { SluiceError } from '../core/errors.ts'
import type { Connection, ConnectionHandlers } from './connection.ts'
import { Fifo } from './fifo.ts'
import type { OutgoingPublish } from './publish.ts'

/** What the broker answered to a QoS 1 publish: a PUBACK reason code, 0 on MQTT 3.1.1. */
export type Puback = number

/** Packet ids of MQTT. */
const ids = 65_535

/**
 * Publishes over a connection, pipelined: many QoS 1 messages are on their way at once, as many as the broker's receive
 * maximum and our own bound allow [MQTT-3.3.4-9]; the others wait in order.
 */
export class Publisher {
  readonly #most: number
  #connection: Connection | undefined
  readonly #underWay = new Map<number, { resolve: (reason: Puback) => void; reject: (error: Error) => void }>()
  readonly #waiting = new Fifo<() => void>()
  #window = 1
  /** Places of the window that are taken; one that becomes free goes to the next that waits without becoming free. */
  #taken = 0
  #nextId = 1

  /** `most`: QoS 1 messages of ours under way at once, whatever the broker would take. */
  constructor(most: number) {
    this.#most = most
  }

  /** To be given to the dialer; then `use` takes its connection. */
  readonly handlers: ConnectionHandlers = { puback: (packetId, reason) => this.#acknowledged(packetId, reason) }

  use(connection: Connection): void {
    this.#connection = connection
    this.#window = Math.min(this.#most, connection.limits.receiveMaximum, ids)
    this.#taken = 0
    connection.resume()
    void connection.closed.then(({ reason }) => this.#lost(reason))
  }

  /**
   * Sends a QoS 1 message and resolves with the reason code of its PUBACK. Rejects with SluiceError BROKER_AWAY when the connection
   * ends before; whether the broker has the message is not known then.
   */
  async publish(message: OutgoingPublish): Promise<Puback> {
    if (this.#taken < this.#window) this.#taken += 1
    else await new Promise<void>((go) => this.#waiting.push(go))
    return new Promise((resolve, reject) => {
      const connection = this.#connection
      if (connection === undefined) return reject(new SluiceError('BROKER_AWAY', 'the connection was lost'))
      const id = this.#takeId()
      this.#underWay.set(id, { resolve, reject })
      connection.publish(message, id)
    })
  }

  #acknowledged(packetId: number, reason: number): void {
    this.#underWay.get(packetId)?.resolve(reason)
    if (!this.#underWay.delete(packetId)) return
    const next = this.#waiting.shift()
    if (next === undefined) this.#taken -= 1
    else next()
  }

  #lost(reason: string): void {
    this.#connection = undefined
    for (const { reject } of this.#underWay.values()) reject(new SluiceError('BROKER_AWAY', reason))
    this.#underWay.clear()
    while (this.#waiting.size > 0) this.#waiting.shift()?.()
  }

  /** An id that is not under way; there is one, because the window is no larger than the ids are many. */
  #takeId(): number {
    while (this.#underWay.has(this.#nextId)) this.#nextId = (this.#nextId % ids) + 1
    const id = this.#nextId
    this.#nextId = (id % ids) + 1
    return id
  }
}
