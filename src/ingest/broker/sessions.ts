import type { Qos } from '../../core/message.ts'
import { FilterTrie } from './filter-trie.ts'
import type { BrokerLimits } from './limits.ts'

/** A packet to a client as aedes hands it over: a PUBLISH, or the PUBREL that took its place. */
export interface OutgoingPacket {
  readonly cmd: string
  readonly brokerId?: string
  readonly brokerCounter?: number
  readonly topic?: string
  readonly payload?: Buffer | string
  readonly qos?: Qos
  readonly retain?: boolean
  readonly dup?: boolean
  messageId?: number | undefined
}

/** Why a message for a session was dropped, as metrics count it. */
export type DroppedFor = 'session-full' | 'session-ended'

/** What belongs to a client id beyond one connection (MQTT 3.1.1 §4.1). It belongs to its principal alone. */
export interface Session {
  readonly clientId: string
  /** The principal's name. */
  readonly owner: string
  readonly clean: boolean
  /** Granted topic filters and their QoS. */
  readonly filters: Map<string, Qos>
  /** Message ids of QoS 2 publishes from the client: taken (true), or being decided. */
  readonly received: Map<number, true | Promise<boolean>>
  /** Messages for the client that it hasn't acknowledged, by aedes' running number, oldest first. */
  readonly queue: Map<number, OutgoingPacket>
  /** Their running numbers by message id, once they have been sent. */
  readonly sent: Map<number, number>
  bytes: number
  /** The connection that has it; of several, the last. */
  holder: object | undefined
  /** When its connection ended; undefined while it is connected. */
  offlineSince: number | undefined
  /** It was ended or replaced; nothing is kept for it any more. */
  gone: boolean
}

/**
 * The sessions of the embedded broker, in memory and bounded: by number, by owner, by messages and bytes. What is dropped is
 * counted through `dropped`.
 */
export class Sessions {
  readonly #limits: BrokerLimits
  readonly #dropped: (reason: DroppedFor) => void
  readonly #now: () => number
  readonly #sessions = new Map<string, Session>()
  readonly #filters = new FilterTrie<Qos>()
  readonly #perOwner = new Map<string, number>()
  /** Sessions that outlive their connection. */
  #kept = 0
  #bytes = 0

  constructor(limits: BrokerLimits, dropped: (reason: DroppedFor) => void, now: () => number = Date.now) {
    this.#limits = limits
    this.#dropped = dropped
    this.#now = now
  }

  /**
   * The session of a new connection. A stored one is resumed only by its own principal and without clean start; for anybody
   * else it ends here. Undefined when there is no room for another.
   */
  open(clientId: string, owner: string, clean: boolean): Session | undefined {
    const stored = this.#sessions.get(clientId)
    if (stored !== undefined && (clean || stored.clean || stored.owner !== owner)) this.#end(stored)
    else if (stored !== undefined) {
      stored.offlineSince = undefined
      return stored
    }
    if (!clean && !this.#makeRoom(owner)) return undefined
    const session: Session = {
      clientId,
      owner,
      clean,
      filters: new Map(),
      received: new Map(),
      queue: new Map(),
      sent: new Map(),
      bytes: 0,
      holder: undefined,
      offlineSince: undefined,
      gone: false,
    }
    this.#sessions.set(clientId, session)
    if (!clean) {
      this.#kept += 1
      this.#perOwner.set(owner, (this.#perOwner.get(owner) ?? 0) + 1)
    }
    return session
  }

  get(clientId: string): Session | undefined {
    return this.#sessions.get(clientId)
  }

  /** A connection has ended; its session with it, unless another connection has taken it over or it is to be kept. */
  leave(session: Session, holder: object): void {
    if (session.gone || session.holder !== holder) return
    session.holder = undefined
    if (session.clean) this.#end(session)
    else session.offlineSince = this.#now()
  }

  /** Ends the sessions that have been without a connection for too long. */
  sweep(): void {
    const oldest = this.#now() - this.#limits.sessionMs
    for (const session of this.#sessions.values()) {
      if (session.offlineSince !== undefined && session.offlineSince < oldest) this.#end(session)
    }
  }

  /** Keeps messages for this filter from now on, where the session outlives its connection and the QoS asks for it. */
  subscribe(session: Session, filter: string): void {
    const qos = session.filters.get(filter)
    if (session.gone || session.clean || qos === undefined) return
    if (qos > 0) this.#filters.set(filter, session.clientId, qos)
    else this.#filters.delete(filter, session.clientId)
  }

  unsubscribe(session: Session, filter: string): void {
    if (session.gone) return
    session.filters.delete(filter)
    if (!session.clean) this.#filters.delete(filter, session.clientId)
  }

  /** The sessions that keep a message on this topic, each once, with the highest QoS of its filters that match. */
  keepersOf(topic: string): Map<string, Qos> {
    const keepers = new Map<string, Qos>()
    for (const [clientId, qos] of this.#filters.match(topic)) {
      if ((keepers.get(clientId) ?? 0) < qos) keepers.set(clientId, qos)
    }
    return keepers
  }

  /** Keeps a message until it is acknowledged; the oldest make room. */
  keep(session: Session, counter: number, packet: OutgoingPacket): void {
    const size = sizeOf(packet)
    if (session.gone) return
    if (size > this.#limits.sessionBytes || this.#bytes + size > this.#limits.totalSessionBytes)
      return this.#dropped('session-full')
    session.queue.set(counter, packet)
    session.bytes += size
    this.#bytes += size
    while (session.queue.size > this.#limits.sessionMessages || session.bytes > this.#limits.sessionBytes) {
      const oldest = session.queue.keys().next().value
      if (oldest === undefined) return
      // One that was sent already is with the client or on its way; only what never left is lost.
      if (this.forget(session, oldest)?.messageId === undefined) this.#dropped('session-full')
    }
  }

  /** Lets go of a message; gives it, where it was there. */
  forget(session: Session, counter: number): OutgoingPacket | undefined {
    const packet = session.queue.get(counter)
    if (packet === undefined) return undefined
    session.queue.delete(counter)
    if (packet.messageId !== undefined) session.sent.delete(packet.messageId)
    session.bytes -= sizeOf(packet)
    this.#bytes -= sizeOf(packet)
    return packet
  }

  /** Puts a PUBREL in the place of the PUBLISH it follows. */
  replace(session: Session, counter: number, packet: OutgoingPacket): void {
    const old = session.queue.get(counter)
    if (old === undefined) return
    session.queue.set(counter, packet)
    const less = sizeOf(old) - sizeOf(packet)
    session.bytes -= less
    this.#bytes -= less
  }

  #makeRoom(owner: string): boolean {
    if ((this.#perOwner.get(owner) ?? 0) >= this.#limits.sessionsPerPrincipal) {
      let oldest: Session | undefined
      for (const session of this.#sessions.values()) {
        if (session.owner !== owner || session.offlineSince === undefined) continue
        if (oldest === undefined || session.offlineSince < (oldest.offlineSince ?? 0)) oldest = session
      }
      if (oldest === undefined) return false
      this.#end(oldest)
    }
    return this.#kept < this.#limits.sessions
  }

  #end(session: Session): void {
    session.gone = true
    if (this.#sessions.get(session.clientId) === session) this.#sessions.delete(session.clientId)
    for (const filter of session.filters.keys()) if (!session.clean) this.#filters.delete(filter, session.clientId)
    for (const packet of session.queue.values()) if (packet.messageId === undefined) this.#dropped('session-ended')
    this.#bytes -= session.bytes
    session.queue.clear()
    if (session.clean) return
    this.#kept -= 1
    const count = (this.#perOwner.get(session.owner) ?? 1) - 1
    if (count > 0) this.#perOwner.set(session.owner, count)
    else this.#perOwner.delete(session.owner)
  }
}

/** What a packet costs us in memory, roughly. */
function sizeOf(packet: OutgoingPacket): number {
  return 200 + (packet.topic?.length ?? 0) + (packet.payload?.length ?? 0)
}
