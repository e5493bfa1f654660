import type { IPublishPacket } from 'mqtt-packet'
import type { Access } from '../../core/access.ts'
import type { Qos } from '../../core/message.ts'
import { complainAboutTopicFilter, topicMatches } from '../../core/topic.ts'
import type { PacedLog } from '../../core/paced-log.ts'
import type { BrokerConnection } from './connection.ts'
import type { BrokerLimits } from './limits.ts'
import type { Sessions } from './sessions.ts'

export interface SubscriptionOptions {
  readonly access: () => Access
  readonly sessions: Sessions
  readonly limits: BrokerLimits
  readonly paced: PacedLog
  readonly dropped: (reason: 'slow-subscriber') => void
}

/** Who gets what: decided when a client subscribes, and again for every delivery. */
export interface Subscriptions {
  /** Whether the client may subscribe; if so its session has the filter from now on. */
  subscribe(connection: BrokerConnection, filter: string, qos: Qos): boolean
  /** The packet as this client gets it, or null where it doesn't. */
  delivery<P extends IPublishPacket>(connection: BrokerConnection, packet: P): P | null
}

/** Larger than any filter that fits a packet: what is left to complain about then breaks the protocol. */
const protocolLimits = { bytes: 65_535, levels: 65_536 }

/** What makes a topic filter malformed, so that the connection has to end; undefined where it is only allowed or not. */
export function complainAboutFilterText(filter: string): string | undefined {
  // The parser puts U+FFFD where the bytes were not UTF-8 [MQTT-1.5.3-1].
  if (filter.includes('\uFFFD')) return 'the topic filter is not UTF-8'
  return complainAboutTopicFilter(filter, protocolLimits)
}

export function createSubscriptions({ access, sessions, limits, paced, dropped }: SubscriptionOptions): Subscriptions {
  function refusalOf({ session, speaker }: BrokerConnection, filter: string): string | undefined {
    if (session === undefined || speaker === undefined) return 'not connected'
    if (filter === '$SYS' || filter.startsWith('$SYS/')) return 'reserved for the broker itself'
    // aedes takes it for a topic called `$share`, on which nothing ever comes.
    if (filter.startsWith('$share/')) return 'there are no shared subscriptions here'
    const complaint = complainAboutTopicFilter(filter, { bytes: limits.topicBytes, levels: limits.topicLevels })
    if (complaint !== undefined) return complaint
    const full = session.filters.size >= limits.subscriptions && !session.filters.has(filter)
    if (full) return `more than ${limits.subscriptions} subscriptions`
    const decision = access().decide(speaker, 'iot:Subscribe', filter)
    return decision.allow ? undefined : decision.because
  }

  function mayReceive(connection: BrokerConnection, packet: IPublishPacket): boolean {
    const { speaker, session } = connection
    if (speaker === undefined || connection.destroyed || packet.topic.startsWith('$SYS/')) return false
    const decision = access().decide(speaker, 'iot:Receive', packet.topic)
    if (!decision.allow) {
      const { because } = decision
      const { name } = speaker.principal
      const facts = () => ({
        clientId: connection.clientId,
        principal: name,
        topic: packet.topic.slice(0, 256),
        because,
      })
      paced.warn(`receive ${name}`, facts, 'delivery refused')
      return false
    }
    const { backlog } = connection
    if (packet.qos === 0 && backlog > limits.outgoingBytes / 2) {
      dropped('slow-subscriber')
      return false
    }
    if (backlog <= limits.outgoingBytes) {
      connection.promise(packet.payload.length + packet.topic.length)
      return true
    }
    connection.cut('stalled', 'it does not read what it subscribed to')
    if (session?.clean === true) dropped('slow-subscriber')
    // A session that is kept has the message; aedes would take it out if we said no.
    return session?.clean === false
  }

  return {
    subscribe(connection, filter, qos) {
      const { session, speaker } = connection
      const because = refusalOf(connection, filter)
      if (because === undefined) {
        session?.filters.set(filter, qos)
        return true
      }
      // It may have been allowed before, in a session that is resumed now.
      if (session !== undefined) sessions.unsubscribe(session, filter)
      const facts = { clientId: connection.clientId, principal: speaker?.principal.name, filter: filter.slice(0, 256) }
      paced.warn(`subscribe ${speaker?.principal.name ?? ''}`, { ...facts, because }, 'subscription refused')
      return false
    },
    delivery: (connection, packet) => (mayReceive(connection, packet) ? lowered(connection, packet) : null),
  }
}

/** aedes lowers the QoS to the granted one [MQTT-3.8.4-6] only where filter and topic are the same text. */
function lowered<P extends IPublishPacket>({ session }: BrokerConnection, packet: P): P {
  if (packet.qos === 0 || (packet.qos === 1 && !packet.retain)) return packet
  let granted: Qos = 0
  for (const [filter, qos] of session?.filters ?? []) {
    if (qos > granted && topicMatches(filter, packet.topic)) granted = qos
  }
  return granted < packet.qos ? { ...packet, qos: granted } : packet
}
