import type { Qos } from '../../core/message.ts'
import type { BrokerConnection } from './connection.ts'
import { FilterTrie } from './filter-trie.ts'
import type { Received } from './inbound.ts'
import { MemoryBudget } from './memory-budget.ts'
import { Outbound, type OutboundOptions } from './outbound.ts'

/** What belongs to a client id beyond one connection (MQTT 3.1.1 §4.1). It belongs to its principal alone. */
export interface Session {
  readonly clientId: string
  /** The principal's name. */
  readonly owner: string
  readonly clean: boolean
  /** Granted topic filters and their QoS. */
  readonly filters: Map<string, Qos>
  /** QoS 2 publishes from the client, by message id, until their PUBREL. */
  readonly received: Map<number, Received>
  /** What the client gets. */
  readonly outbound: Outbound
  /** The connection that has it. */
  holder: BrokerConnection | undefined
  /** When its connection ended, by the clock of Sessions; undefined while it is connected. */
  offlineSince: number | undefined
}

/** What a CONNECT comes into. */
export interface Opened {
  readonly session: Session
  /** Whether it was there before, with or without anything in it [MQTT-3.2.2-2]. */
  readonly present: boolean
}

/** What the sessions of one principal come to. */
interface Owner {
  sessions: number
  /** Those that outlive their connection. */
  kept: number
  readonly budget: MemoryBudget
}

interface Subscription {
  readonly session: Session
  readonly qos: Qos
}

/**
 * The sessions of the embedded broker and who has subscribed to what, in memory and bounded: by number, by owner, by messages and
 * bytes. What is dropped is counted.
 */
export class Sessions {
  readonly #options: Omit<OutboundOptions, 'budgets'>
  readonly #all: MemoryBudget
  readonly #now: () => number
  readonly #sessions = new Map<string, Session>()
  readonly #filters = new FilterTrie<Subscription>()
  readonly #owners = new Map<string, Owner>()
  /** Sessions that outlive their connection. */
  #kept = 0

  /** `now` gives milliseconds that pass evenly: a clock that is set ends no session. */
  constructor(options: Omit<OutboundOptions, 'budgets'>, now: () => number = () => performance.now()) {
    this.#options = options
    this.#all = new MemoryBudget(options.limits.totalSessionBytes)
    this.#now = now
  }

  /**
   * The session of a new connection. A stored one is resumed only by its own principal and without clean start; for anybody
   * else it ends here. Undefined when there is no room for another.
   */
  open(clientId: string, owner: string, clean: boolean): Opened | undefined {
    const stored = this.#sessions.get(clientId)
    if (stored !== undefined && (clean || stored.clean || stored.owner !== owner)) this.#end(stored)
    else if (stored !== undefined) {
      stored.offlineSince = undefined
      return { session: stored, present: true }
    }
    if (!clean && !this.#makeRoom(owner)) return undefined
    const account = this.#accountOf(owner)
    account.sessions += 1
    const session: Session = {
      clientId,
      owner,
      clean,
      filters: new Map(),
      received: new Map(),
      outbound: new Outbound(!clean, { ...this.#options, budgets: [this.#all, account.budget] }),
      holder: undefined,
      offlineSince: undefined,
    }
    this.#sessions.set(clientId, session)
    if (!clean) {
      this.#kept += 1
      account.kept += 1
    }
    return { session, present: false }
  }

  get(clientId: string): Session | undefined {
    return this.#sessions.get(clientId)
  }

  /** A connection has ended; its session with it, unless it is to be kept. */
  leave(session: Session, holder: BrokerConnection): void {
    if (session.holder !== holder) return
    session.holder = undefined
    session.outbound.detach()
    if (session.clean) this.#end(session)
    else session.offlineSince = this.#now()
  }

  /** Ends the sessions that have been without a connection for too long. */
  sweep(): void {
    const oldest = this.#now() - this.#options.limits.sessionMs
    for (const session of this.#sessions.values()) {
      if (session.offlineSince !== undefined && session.offlineSince < oldest) this.#end(session)
    }
  }

  subscribe(session: Session, filter: string, qos: Qos): void {
    session.filters.set(filter, qos)
    this.#filters.set(filter, session.clientId, { session, qos })
  }

  /** What waits for the session stays: it was published while it had subscribed (MQTT 3.1.1 §3.10.4). */
  unsubscribe(session: Session, filter: string): void {
    session.outbound.stopReplay(filter)
    if (session.filters.delete(filter)) this.#filters.delete(filter, session.clientId)
  }

  /** Who gets a message on this topic: each session once, with the highest QoS of its filters that match [MQTT-3.3.5-1]. */
  subscribersOf(topic: string): Map<Session, Qos> {
    const subscribers = new Map<Session, Qos>()
    for (const [, { session, qos }] of this.#filters.match(topic)) {
      if (qos >= (subscribers.get(session) ?? 0)) subscribers.set(session, qos)
    }
    return subscribers
  }

  #makeRoom(owner: string): boolean {
    const { limits } = this.#options
    if ((this.#owners.get(owner)?.kept ?? 0) >= limits.sessionsPerPrincipal) {
      let oldest: Session | undefined
      for (const session of this.#sessions.values()) {
        if (session.owner !== owner || session.offlineSince === undefined) continue
        if (oldest === undefined || session.offlineSince < (oldest.offlineSince ?? 0)) oldest = session
      }
      if (oldest === undefined) return false
      this.#end(oldest)
    }
    return this.#kept < limits.sessions
  }

  #end(session: Session): void {
    this.#sessions.delete(session.clientId)
    for (const filter of session.filters.keys()) this.#filters.delete(filter, session.clientId)
    session.outbound.end()
    const account = this.#accountOf(session.owner)
    account.sessions -= 1
    if (account.sessions === 0) this.#owners.delete(session.owner)
    if (session.clean) return
    this.#kept -= 1
    account.kept -= 1
  }

  #accountOf(owner: string): Owner {
    let account = this.#owners.get(owner)
    if (account === undefined) {
      account = { sessions: 0, kept: 0, budget: new MemoryBudget(this.#options.limits.sessionBytesPerPrincipal) }
      this.#owners.set(owner, account)
    }
    return account
  }
}
