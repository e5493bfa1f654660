import type { ISubscribePacket, IUnsubscribePacket } from 'mqtt-packet'
import type { Access } from '../../core/access.ts'
import type { Qos } from '../../core/message.ts'
import { complainAboutTopicFilter, topicMatches } from '../../core/topic.ts'
import type { PacedLog } from '../../core/paced-log.ts'
import type { BrokerConnection } from './connection.ts'
import type { BrokerLimits } from './limits.ts'
import { type Outgoing, shortPacket, subackPacket } from './outgoing.ts'
import type { Retained } from './retained.ts'
import type { Session, Sessions } from './sessions.ts'

export interface SubscriptionOptions {
  readonly access: () => Access
  readonly sessions: Sessions
  readonly retained: Retained
  readonly limits: BrokerLimits
  /** What a SUBSCRIBE that policies deny gets. */
  readonly denied: 'suback' | 'disconnect'
  readonly paced: PacedLog
}

/** Who has subscribed to what. Policies are asked when a client subscribes, and again when it comes back to its session. */
export interface Subscriptions {
  /** Answers a SUBSCRIBE, then sends what is retained; gives the filters that were granted. Cuts off who sends a malformed one. */
  subscribe(connection: BrokerConnection, packet: ISubscribePacket): readonly string[]
  /** Answers an UNSUBSCRIBE; gives its filters. */
  unsubscribe(connection: BrokerConnection, packet: IUnsubscribePacket): readonly string[]
  /** A session has a connection again: takes from it what its client may not subscribe to any more. */
  restore(connection: BrokerConnection, session: Session): void
}

/** Larger than any filter that fits a packet: what is left to complain about then breaks the protocol. */
const protocolLimits = { bytes: 65_535, levels: 65_536 }
/** A return code of SUBACK [MQTT-3.9.3-2]. */
const failure = 0x80

export function createSubscriptions(options: SubscriptionOptions): Subscriptions {
  const { access, sessions, retained, limits, denied, paced } = options

  function refusalOf({ speaker }: BrokerConnection, session: Session, filter: string): string | undefined {
    if (speaker === undefined) return 'not connected'
    if (filter === '$SYS' || filter.startsWith('$SYS/')) return 'reserved for the broker itself'
    // Taken for a topic called `$share`, nothing would ever come on it.
    if (filter.startsWith('$share/')) return 'there are no shared subscriptions here'
    const complaint = complainAboutTopicFilter(filter, { bytes: limits.topicBytes, levels: limits.topicLevels })
    if (complaint !== undefined) return complaint
    const full = session.filters.size >= limits.subscriptions && !session.filters.has(filter)
    if (full) return `more than ${limits.subscriptions} subscriptions`
    const decision = access().decide(speaker, 'iot:Subscribe', filter)
    return decision.allow ? undefined : decision.because
  }

  function grant(connection: BrokerConnection, session: Session, filter: string, qos: Qos): boolean {
    const because = refusalOf(connection, session, filter)
    if (because === undefined) {
      sessions.subscribe(session, filter, qos)
      return true
    }
    // It may have been allowed before.
    sessions.unsubscribe(session, filter)
    const { clientId, speaker } = connection
    const facts = { clientId, principal: speaker?.principal.name, filter: filter.slice(0, 256), because }
    paced.warn(`subscribe ${speaker?.principal.name ?? ''}`, facts, 'subscription refused')
    return false
  }

  /** At the QoS of the highest subscription that matches, as everything else on that topic [MQTT-3.3.5-1]. */
  function* retainedFor(session: Session, filter: string): Generator<{ message: Outgoing; qos: Qos } | undefined> {
    for (const found of retained.matching(filter)) {
      if (found === undefined) {
        yield undefined
        continue
      }
      const { message, qos } = found
      let granted: Qos = 0
      for (const [own, most] of session.filters) {
        if (most > granted && topicMatches(own, message.topic)) granted = most
      }
      yield { message, qos: qos < granted ? qos : granted }
    }
  }

  return {
    subscribe(connection, { messageId = 0, subscriptions }) {
      const { session } = connection
      if (session === undefined) return []
      const malformed = complainAboutFilters(subscriptions.map(({ topic }) => topic))
      if (malformed !== undefined) {
        connection.cut('protocol', malformed)
        return []
      }
      const codes: number[] = []
      for (const { topic, qos } of subscriptions) codes.push(grant(connection, session, topic, qos) ? qos : failure)
      if (denied === 'disconnect' && codes.includes(failure)) {
        connection.cut('refused', 'it may not subscribe to that')
        return []
      }
      connection.reply(subackPacket(messageId, codes))
      // As if each had been a SUBSCRIBE of its own [MQTT-3.8.4-4].
      const granted = subscriptions.flatMap(({ topic }, index) => (codes[index] === failure ? [] : [topic]))
      for (const filter of granted) session.outbound.replay(filter, retainedFor(session, filter))
      return granted
    },

    unsubscribe(connection, { messageId = 0, unsubscriptions }) {
      const { session } = connection
      if (session === undefined) return []
      const malformed = complainAboutFilters(unsubscriptions)
      if (malformed !== undefined) {
        connection.cut('protocol', malformed)
        return []
      }
      for (const filter of unsubscriptions) sessions.unsubscribe(session, filter)
      connection.reply(shortPacket(0xb0, messageId)) // also where it had none of them [MQTT-3.10.4-5]
      return unsubscriptions
    },

    restore(connection, session) {
      for (const [filter, qos] of session.filters) grant(connection, session, filter, qos)
    },
  }
}

/** What makes one of them malformed, so that the connection has to end; undefined where they are only allowed or not. */
function complainAboutFilters(filters: readonly string[]): string | undefined {
  for (const filter of filters) {
    // The parser puts U+FFFD where the bytes were not UTF-8 [MQTT-1.5.3-1].
    if (filter.includes('\uFFFD')) return 'the topic filter is not UTF-8'
    const complaint = complainAboutTopicFilter(filter, protocolLimits)
    if (complaint !== undefined) return complaint
  }
  return undefined
}
