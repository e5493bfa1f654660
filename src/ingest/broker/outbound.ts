import type { Qos } from '../../core/message.ts'
import type { BrokerConnection } from './connection.ts'
import type { BrokerLimits } from './limits.ts'
import type { MemoryBudget } from './memory-budget.ts'
import { type Outgoing, shortPacket } from './outgoing.ts'

/** Why a message for a session was dropped, as metrics count it. */
export type DroppedFor = 'session-full' | 'session-ended' | 'slow-subscriber'

export interface OutboundOptions {
  readonly limits: BrokerLimits
  /** What all sessions keep together, and those of this principal. */
  readonly budgets: readonly MemoryBudget[]
  readonly dropped: (reason: DroppedFor) => void
  /** Whether policies let the client have a message on this topic: asked whenever one is sent, and sent again. */
  readonly mayReceive: (connection: BrokerConnection, topic: string) => boolean
}

/** Retained messages, read as they are asked for; undefined where whoever reads should let others have their turn. */
type Replay = Iterator<{ readonly message: Outgoing; readonly qos: Qos } | undefined>

/** A message that is kept, with the QoS that this client gets it at. */
interface Held {
  readonly message: Outgoing
  readonly qos: 1 | 2
  /** Once it has been sent. */
  messageId: number | undefined
}

/** A message id that the client has yet to give back. */
interface Sent {
  /** What is sent again on the next connection; undefined where nothing is, or nothing is left to be sent. */
  held: Held | undefined
  readonly awaits: 'puback' | 'pubrec' | 'pubcomp'
}

const released: Sent = { held: undefined, awaits: 'pubcomp' }
const largestId = 65_535

/**
 * What one session's client gets, and what it has yet to acknowledge: the sender's side of MQTT 3.1.1 §4.3 and §4.4.
 *
 * A session that outlives its connection keeps each message of QoS 1 and 2 from the moment it is published until the client
 * has it: PUBACK, or PUBREC, after which only the id is left, until PUBCOMP. Its next connection gets everything again, what
 * was sent before first, in the order in which it was sent [MQTT-4.4.0-1] [MQTT-4.6.0-1], and then what came meanwhile; what is
 * published while that goes on waits behind it. A clean session keeps only what has to wait for a free id.
 *
 * At a bound the oldest goes. One that was sent may have arrived, so it counts as lost only when its connection ends without an
 * acknowledgement.
 */
export class Outbound {
  readonly #keeps: boolean
  readonly #options: OutboundOptions
  /** All that takes room, oldest first. */
  readonly #held = new Set<Held>()
  /** Those of it that have never been sent. */
  readonly #waiting = new Set<Held>()
  /** By message id, in the order of sending; those that wait for a PUBCOMP in the order of their PUBRECs [MQTT-4.6.0-4]. */
  readonly #sent = new Map<number, Sent>()
  /** Message ids that this connection has not been sent again yet. */
  readonly #again = new Set<number>()
  /** Retained messages that are being sent, by the filter that asked for them; a source is read as the client takes them. */
  readonly #replays = new Map<string, Replay>()
  /** Others have their turn before more of them is read: one client that subscribes all day must not keep everybody waiting. */
  #rests = false
  #bytes = 0
  #lastId = 0
  #connection: BrokerConnection | undefined
  #awaitsDrain = false

  constructor(keeps: boolean, options: OutboundOptions) {
    this.#keeps = keeps
    this.#options = options
  }

  /** Messages that are kept, for tests. */
  get kept(): number {
    return this.#held.size
  }

  /** The session has a connection again, and its CONNACK is out. */
  attach(connection: BrokerConnection): void {
    this.#connection = connection
    this.#awaitsDrain = false
    for (const id of this.#sent.keys()) this.#again.add(id)
    this.#pump()
  }

  /** Its connection has ended. */
  detach(): void {
    this.#connection = undefined
    this.#again.clear()
    for (const id of this.#sent.keys()) this.#giveUp(id)
  }

  /** The session is over. */
  end(): void {
    if (this.#keeps) for (let count = this.#held.size; count > 0; count -= 1) this.#options.dropped('session-ended')
    for (const held of this.#held) this.#letGo(held)
    this.#sent.clear()
    this.#again.clear()
    this.#replays.clear()
  }

  /** A message has been published; `qos` is the lower one of its own and the highest that was granted for it. */
  deliver(message: Outgoing, qos: Qos): void {
    const connection = this.#live
    if (qos === 0) return connection === undefined ? undefined : this.#sendUnacknowledged(connection, message)
    if (connection === undefined) return this.#keeps ? this.#wait(message, qos) : undefined
    if (this.#again.size > 0 || this.#waiting.size > 0) return this.#wait(message, qos)
    if (!this.#options.mayReceive(connection, message.topic)) return
    if (connection.backlog > this.#options.limits.outgoingBytes) {
      connection.cut('stalled', 'it does not read what it subscribed to')
      return this.#keeps ? this.#wait(message, qos) : this.#options.dropped('slow-subscriber')
    }
    const id = this.#freeId()
    if (id === undefined) return this.#wait(message, qos)
    this.#send(connection, id, message, qos, this.#keeps ? this.#hold(message, qos) : undefined)
  }

  /** Sends what `messages` gives, as fast as the client takes it; on its next connection goes on with what is left. */
  replay(filter: string, messages: Replay): void {
    this.#replays.set(filter, messages)
    this.#pump()
  }

  stopReplay(filter: string): void {
    this.#replays.delete(filter)
  }

  puback(id: number): void {
    const sent = this.#sent.get(id)
    if (sent?.awaits !== 'puback') return
    this.#sent.delete(id)
    this.#again.delete(id)
    if (sent.held !== undefined) this.#letGo(sent.held)
    this.#pump()
  }

  /** The client has the message. It is answered with PUBREL whether we know the id or not, or it would wait for ever. */
  pubrec(id: number): void {
    const sent = this.#sent.get(id)
    if (sent?.awaits === 'pubrec') this.#release(id)
    if (sent?.awaits !== 'puback') this.#again.delete(id)
    this.#live?.reply(shortPacket(0x62, id))
    this.#pump()
  }

  pubcomp(id: number): void {
    if (this.#sent.get(id)?.awaits !== 'pubcomp') return
    this.#sent.delete(id)
    this.#again.delete(id)
    this.#pump()
  }

  /** Between its end and the news of it a connection takes nothing more. */
  get #live(): BrokerConnection | undefined {
    return this.#connection?.destroyed === false ? this.#connection : undefined
  }

  /** Sends what waits, until the socket is full. */
  readonly #pump = (): void => {
    if (this.#awaitsDrain) return
    for (let connection = this.#live; connection !== undefined; connection = this.#live) {
      if (connection.writableNeedDrain) {
        this.#awaitsDrain = true
        connection.once('drain', () => {
          this.#awaitsDrain = false
          this.#pump()
        })
        return
      }
      if (!this.#next(connection)) return
    }
  }

  /** Takes the next step of what waits; false where there is none before an acknowledgement. */
  #next(connection: BrokerConnection): boolean {
    const [again] = this.#again
    if (again !== undefined) {
      this.#again.delete(again)
      this.#sendAgain(connection, again)
      return true
    }
    const [held] = this.#waiting
    if (held === undefined) return this.#replayNext(connection)
    const id = this.#freeId()
    if (id === undefined) return false
    const { message, qos } = held
    const allowed = this.#options.mayReceive(connection, message.topic)
    this.#waiting.delete(held)
    if (!allowed || !this.#keeps) this.#letGo(held)
    if (allowed) this.#send(connection, id, message, qos, this.#keeps ? held : undefined)
    return true
  }

  #sendAgain(connection: BrokerConnection, id: number): void {
    this.#giveUp(id)
    const { held, awaits } = this.#sent.get(id) ?? {}
    if (awaits === 'pubcomp') return connection.reply(shortPacket(0x62, id))
    if (held === undefined) return
    if (this.#options.mayReceive(connection, held.message.topic))
      return connection.deliver(held.message.packet(held.qos, id, true)) // a duplicate [MQTT-3.3.1-1]
    if (held.qos === 2) {
      this.#release(id)
      return connection.reply(shortPacket(0x62, id))
    }
    this.#sent.delete(id)
    this.#letGo(held)
  }

  #replayNext(connection: BrokerConnection): boolean {
    const { limits, mayReceive } = this.#options
    if (this.#rests) return false
    for (const [filter, messages] of this.#replays) {
      // What is retained goes behind what has been published: it may take half of the room.
      const isTight = this.#held.size * 2 >= limits.sessionMessages || this.#bytes * 2 >= limits.sessionBytes
      const id = this.#freeId()
      if (isTight || id === undefined) return false
      const { done, value } = messages.next()
      if (done === true) {
        this.#replays.delete(filter)
        continue
      }
      if (value === undefined) {
        this.#rest()
        return false
      }
      const { message, qos } = value
      if (!mayReceive(connection, message.topic)) return true
      if (qos === 0) connection.deliver(message.packet(0, 0, false))
      else this.#send(connection, id, message, qos, this.#keeps ? this.#hold(message, qos) : undefined)
      return true
    }
    return false
  }

  #rest(): void {
    this.#rests = true
    setImmediate(() => {
      this.#rests = false
      this.#pump()
    })
  }

  #sendUnacknowledged(connection: BrokerConnection, message: Outgoing): void {
    if (!this.#options.mayReceive(connection, message.topic)) return
    if (connection.backlog > this.#options.limits.outgoingBytes / 2) this.#options.dropped('slow-subscriber')
    else connection.deliver(message.packet(0, 0, false))
  }

  #send(connection: BrokerConnection, id: number, message: Outgoing, qos: 1 | 2, held: Held | undefined): void {
    if (held !== undefined) held.messageId = id
    this.#sent.set(id, { held, awaits: qos === 1 ? 'puback' : 'pubrec' })
    connection.deliver(message.packet(qos, id, false))
  }

  /** An id that the client doesn't hold [MQTT-2.3.1-2], the longest unused; undefined while it has too many. */
  #freeId(): number | undefined {
    if (this.#sent.size >= Math.min(this.#options.limits.unacknowledged, largestId)) return undefined
    do this.#lastId = (this.#lastId % largestId) + 1
    while (this.#sent.has(this.#lastId))
    return this.#lastId
  }

  /**
   * A message that is not kept any more will not be sent again. The client may be in the middle of it: at QoS 2 it learns by a PUBREL
   * that the id is free.
   */
  #giveUp(id: number): void {
    const sent = this.#sent.get(id)
    if (sent === undefined || sent.held !== undefined || sent.awaits === 'pubcomp') return
    if (sent.awaits === 'pubrec') this.#sent.set(id, released)
    else this.#sent.delete(id)
    if (this.#keeps) this.#options.dropped('session-full')
  }

  /** The message of a QoS 2 id isn't needed any more; the id is, until PUBCOMP. */
  #release(id: number): void {
    const held = this.#sent.get(id)?.held
    if (held !== undefined) this.#letGo(held)
    this.#sent.delete(id)
    this.#sent.set(id, released)
  }

  #wait(message: Outgoing, qos: 1 | 2): void {
    const held = this.#hold(message, qos)
    if (held === undefined) return this.#options.dropped(this.#keeps ? 'session-full' : 'slow-subscriber')
    this.#waiting.add(held)
  }

  /** Makes room for a message, and keeps it; undefined where it would never fit. */
  #hold(message: Outgoing, qos: 1 | 2): Held | undefined {
    const { limits, budgets } = this.#options
    if (message.size > limits.sessionBytes) return undefined
    if (budgets.some((budget) => !budget.hasRoomFor(message.size))) return undefined
    const held: Held = { message: message.own(), qos, messageId: undefined }
    this.#held.add(held)
    this.#bytes += message.size
    for (const budget of budgets) budget.take(message.size)
    while (this.#held.size > limits.sessionMessages || this.#bytes > limits.sessionBytes) {
      const [oldest] = this.#held
      if (oldest === undefined) break
      this.#letGo(oldest)
      const { messageId: id } = oldest
      const sent = id === undefined ? undefined : this.#sent.get(id)
      if (id === undefined || sent === undefined) {
        this.#options.dropped(this.#keeps ? 'session-full' : 'slow-subscriber')
        continue
      }
      sent.held = undefined
      // While its connection lives, it may still be acknowledged.
      if (this.#live === undefined) this.#giveUp(id)
    }
    return held
  }

  #letGo(held: Held): void {
    if (!this.#held.delete(held)) return
    this.#waiting.delete(held)
    this.#bytes -= held.message.size
    for (const budget of this.#options.budgets) budget.release(held.message.size)
  }
}
