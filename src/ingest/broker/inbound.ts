import { createHash } from 'node:crypto'
import type { IPublishPacket } from 'mqtt-packet'
import type { Accepted, Publish, RefusalReason } from '../../core/access.ts'
import { messageOf } from '../../core/errors.ts'
import type { BrokerConnection, ClosedFor } from './connection.ts'
import type { BrokerLimits } from './limits.ts'
import type { MemoryBudget } from './memory-budget.ts'

/** What one client's publishes need from the broker. */
export interface InboundOptions {
  readonly connection: BrokerConnection
  readonly accept: (publish: Publish) => Promise<Accepted>
  /** Hands an accepted message to those who subscribed. */
  readonly distribute: (publish: Publish) => void
  readonly limits: BrokerLimits
  readonly budget: MemoryBudget
  /** Counts a QoS 0 message that was given up. */
  readonly dropped: (reason: 'qos0') => void
}

/** A QoS 2 publish whose PUBREL has not come. */
export interface Received {
  /** Of topic and payload, to tell a duplicate from another message with its id. */
  readonly digest: string
  /** Whether it was accepted, once that is known. */
  readonly taken: Promise<boolean>
  /** It was. */
  isTaken: boolean
}

interface Entry {
  /** Absent for a duplicate of a QoS 2 message that was taken before. */
  readonly publish: Publish | undefined
  readonly messageId: number
  readonly order: number
  readonly bytes: number
  state: 'waiting' | 'asked' | 'done' | 'refused'
  /** Why it was refused, for the log. */
  refusal?: RefusalReason
  /** Counted among the QoS 0 messages that are held. */
  held?: true
  /** Told once, for duplicates of a QoS 2 message: whether it was accepted. */
  settle?: (accepted: boolean) => void
}

/** Refusals that no policy would lift: the client has sent what nobody may send (AWS's disconnectReason CLIENT_ERROR). */
const faults: ReadonlyMap<RefusalReason | undefined, ClosedFor> = new Map([
  ['size', 'size'],
  ['topic', 'protocol'],
  ['request', 'protocol'],
])

/** An entry costs this much beside its bytes. */
const overhead = 300
const shortestWaitMs = 5

/**
 * The publishes of one client, in the order of their arrival. All are given to accept at once (it batches them) and
 * acknowledged in order [MQTT-4.6.0-2] [MQTT-4.6.0-3], each only after accept has said `accepted`.
 *
 * When accept says `later`, this client's further publishes wait behind that one, and are tried again in order: one first,
 * then more and more. Over a limit (429) the client's socket isn't read until then; with the queue away (503) it is, so that
 * pings are answered, until it has too much in flight. Nobody else waits.
 */
export class Inbound {
  readonly #connection: BrokerConnection
  readonly #options: InboundOptions
  readonly #limits: BrokerLimits
  /** Not yet acknowledged, in order. */
  #open: Entry[] = []
  #firstOpen = 0
  /** Not yet given to accept, in order. */
  #todo: Entry[] = []
  #firstTodo = 0
  /** Given to accept and put off, in the order of the answers. */
  #again: Entry[] = []
  #asked = 0
  #arrived = 0
  #bytes = 0
  #heldQos0 = 0
  /** How many may be with accept at once. */
  #window: number
  #waitMs = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false
  #idle: (() => void)[] = []
  readonly #resume = (): void => this.#connection.unpauseFor('memory')

  constructor(options: InboundOptions) {
    this.#connection = options.connection
    this.#options = options
    this.#limits = options.limits
    this.#window = options.limits.inFlight
  }

  /** A PUBLISH has come; throws an Error on one that breaks the protocol. */
  publish(packet: IPublishPacket): void {
    if (this.#closed) return
    const { qos, messageId = 0 } = packet
    if (qos > 0 && messageId < 1) throw new Error('a publish without a message id') // [MQTT-2.3.1-1]
    // The parser puts U+FFFD where the bytes were not UTF-8, and topics must not fall together [MQTT-1.5.3-1].
    if (packet.topic.includes('\uFFFD')) throw new Error('the topic is not UTF-8')
    const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload
    const publish: Publish = { topic: packet.topic, payload, qos, retain: packet.retain }
    if (qos === 2) return this.#publishOnce(publish, messageId, packet.dup)
    if (qos === 0 && this.#isHolding && this.#heldQos0 >= this.#limits.heldQos0) return this.#options.dropped('qos0')
    this.#add(publish, messageId)
  }

  /** A PUBREL has come: the message id is free again. It is answered whether we know it or not [MQTT-4.3.3-2]. */
  release(messageId: number): void {
    this.#connection.session?.received.delete(messageId)
    if (!this.#closed) this.#connection.acknowledge(0x70, messageId)
  }

  /** The connection has ended: what is with accept goes on, what waits is let go; the client will send it again. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    this.#options.budget.forget(this.#resume)
    for (const entry of [...this.#todo.slice(this.#firstTodo), ...this.#again]) this.#letGo(entry)
    this.#todo = []
    this.#again = []
    this.#firstTodo = 0
    this.#drain()
  }

  /** Resolves when nothing is with accept any more. */
  idle(): Promise<void> {
    return this.#asked === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve))
  }

  /**
   * QoS 2 [MQTT-4.3.3-2]: a message id that was taken before, or is being decided, is not taken again. But another message that is
   * not marked as a duplicate [MQTT-3.3.1-1] is from a client that has lost its state and counts from the start, whatever CONNACK
   * said of the session: its first would be acknowledged and gone.
   */
  #publishOnce(publish: Publish, messageId: number, dup: boolean): void {
    const received = this.#connection.session?.received
    if (received === undefined) return
    const digest = createHash('sha1').update(publish.topic).update('\0').update(publish.payload).digest('base64')
    const before = received.get(messageId)
    if (before !== undefined && (dup || before.digest === digest)) return this.#repeat(before, publish, messageId, dup)
    if (before === undefined && received.size >= this.#limits.inFlight)
      throw new Error(`more than ${this.#limits.inFlight} QoS 2 messages without PUBREL`)
    const { promise: taken, resolve } = Promise.withResolvers<boolean>()
    const mine: Received = { digest, taken, isTaken: false }
    received.set(messageId, mine)
    this.#add(publish, messageId, (accepted) => {
      mine.isTaken = accepted
      if (!accepted && received.get(messageId) === mine) received.delete(messageId)
      resolve(accepted)
    })
  }

  #repeat(before: Received, publish: Publish, messageId: number, dup: boolean): void {
    if (before.isTaken) return this.#add(undefined, messageId)
    // Decided by an earlier connection, or this one: then its PUBREC answers this one too.
    if (this.#open.some((entry) => entry.messageId === messageId && entry.publish?.qos === 2 && entry.state !== 'done'))
      return
    void before.taken.then((accepted) => {
      if (accepted) return this.#add(undefined, messageId)
      // Nobody is behind this turn to hear of what breaks the protocol, as there is when a packet comes.
      try {
        this.#publishOnce(publish, messageId, dup)
      } catch (error) {
        this.#connection.cut('protocol', messageOf(error))
      }
    })
  }

  #add(publish: Publish | undefined, messageId: number, settle?: (accepted: boolean) => void): void {
    if (this.#closed) return settle?.(false)
    const bytes = overhead + (publish === undefined ? 0 : publish.payload.length + publish.topic.length)
    const order = (this.#arrived += 1)
    const state = publish === undefined ? 'done' : 'waiting'
    const entry: Entry = { publish, messageId, order, bytes, state, ...(settle !== undefined && { settle }) }
    this.#open.push(entry)
    this.#bytes += bytes
    this.#options.budget.take(bytes)
    if (publish !== undefined) {
      this.#todo.push(entry)
      if (this.#isHolding) this.#hold(entry)
      this.#ask()
    } else this.#drain()
    this.#pauseIfFull()
  }

  /** Whether messages wait because accept has said `later`. */
  get #isHolding(): boolean {
    return this.#again.length > 0 || this.#timer !== undefined || this.#window < this.#limits.inFlight
  }

  #ask(): void {
    while (this.#again.length === 0 && this.#timer === undefined && !this.#closed && this.#asked < this.#window) {
      const entry = this.#todo[this.#firstTodo]
      if (entry === undefined) break
      this.#firstTodo += 1
      entry.state = 'asked'
      this.#asked += 1
      // Only duplicates have no publish, and they are never put here.
      void this.#options.accept(entry.publish as Publish).then((accepted) => this.#answered(entry, accepted))
    }
    if (this.#firstTodo > 1_024 || this.#firstTodo === this.#todo.length) {
      this.#todo = this.#todo.slice(this.#firstTodo)
      this.#firstTodo = 0
    }
  }

  #answered(entry: Entry, accepted: Accepted): void {
    this.#asked -= 1
    if (accepted.kind === 'later') this.#putOff(entry, accepted.status, accepted.afterMs)
    else {
      entry.state = accepted.kind === 'accepted' ? 'done' : 'refused'
      if (accepted.kind === 'refused') entry.refusal = accepted.reason
      entry.settle?.(accepted.kind === 'accepted')
      if (entry.held === true) this.#heldQos0 -= 1
      if (this.#window < this.#limits.inFlight) this.#grow()
      this.#drain()
    }
    if (this.#asked === 0) {
      if (this.#again.length > 0) this.#waitAndRetry()
      for (const resolve of this.#idle.splice(0)) resolve()
    }
    this.#ask()
  }

  /** After each success one more may be in flight, as in TCP's slow start: the queue has only just come back. */
  #grow(): void {
    this.#window += 1
    if (this.#firstTodo === this.#todo.length && this.#again.length === 0) this.#window = this.#limits.inFlight
  }

  #hold(entry: Entry): void {
    if (entry.publish?.qos !== 0 || entry.held === true) return
    entry.held = true
    this.#heldQos0 += 1
  }

  #putOff(entry: Entry, status: 429 | 503, afterMs: number): void {
    if (this.#closed) {
      this.#letGo(entry)
      return this.#drain()
    }
    entry.state = 'waiting'
    this.#again.push(entry)
    this.#hold(entry)
    this.#waitMs = Math.max(this.#waitMs, afterMs, shortestWaitMs)
    if (status === 429) this.#connection.pauseFor('publishes')
  }

  #waitAndRetry(): void {
    // Accept answers when it is done, not in order.
    const again = this.#again.sort((left, right) => left.order - right.order)
    this.#todo = [...again, ...this.#todo.slice(this.#firstTodo)]
    this.#firstTodo = 0
    this.#again = []
    this.#window = 1
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#ask()
      this.#unpauseIfRoom()
    }, this.#waitMs)
    this.#waitMs = 0
  }

  /** Acknowledges and hands on what is done at the head. */
  #drain(): void {
    for (;;) {
      const entry = this.#open[this.#firstOpen]
      if (entry === undefined || (entry.state !== 'done' && entry.state !== 'refused')) break
      if (entry.state === 'refused') {
        if (this.#closed) {
          this.#pop(entry)
          continue
        }
        // 3.1.1 has no way to say no but to close (aedes and AWS IoT do the same, aws-security §8).
        this.#connection.cut(faults.get(entry.refusal) ?? 'refused', entry.refusal ?? 'refused')
        return this.close()
      }
      this.#pop(entry)
      const { publish, messageId } = entry
      const qos = publish?.qos ?? 2
      if (qos > 0 && !this.#closed) this.#connection.acknowledge(qos === 1 ? 0x40 : 0x50, messageId)
      if (publish !== undefined) this.#options.distribute(publish)
    }
    this.#unpauseIfRoom()
  }

  #pop(entry: Entry): void {
    this.#firstOpen += 1
    if (this.#firstOpen > 1_024 || this.#firstOpen === this.#open.length) {
      this.#open = this.#open.slice(this.#firstOpen)
      this.#firstOpen = 0
    }
    this.#bytes -= entry.bytes
    this.#options.budget.release(entry.bytes)
  }

  #letGo(entry: Entry): void {
    entry.state = 'refused'
    entry.settle?.(false)
    if (entry.publish?.qos === 0) this.#options.dropped('qos0')
  }

  get #isFull(): boolean {
    return this.#open.length - this.#firstOpen > this.#limits.inFlight || this.#bytes > this.#limits.inFlightBytes
  }

  #pauseIfFull(): void {
    if (this.#isFull) this.#connection.pauseFor('publishes')
    if (!this.#options.budget.full) return
    this.#connection.pauseFor('memory')
    this.#options.budget.wait(this.#resume)
  }

  #unpauseIfRoom(): void {
    // While its limit (429) holds it back, its socket rests until nothing waits any more.
    if (!this.#closed && !this.#isFull && !this.#isHolding) this.#connection.unpauseFor('publishes')
  }
}
