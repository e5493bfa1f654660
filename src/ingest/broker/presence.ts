import { randomUUID } from 'node:crypto'
import { keepNewest } from '../../core/keep-newest.ts'
import type { BrokerConnection } from './connection.ts'

/**
 * Says who comes and goes, and who subscribes, as AWS IoT does ("Lifecycle events"): `$aws/events/presence/connected/<client id>`
 * and so on, for rules such as "a device went silent". A client id with `+` or `#` has no events, because no topic name can
 * hold it.
 */
export interface Presence {
  connected(connection: BrokerConnection): void
  disconnected(connection: BrokerConnection): void
  subscribed(connection: BrokerConnection, filters: readonly string[]): void
  unsubscribed(connection: BrokerConnection, filters: readonly string[]): void
}

/** Client ids whose count of connections is remembered; AWS promises no more than that it grows. */
const versionsKept = 50_000

/** Events about subscriptions of one connection in a second, as many as AWS takes publishes; further ones are left out. */
const subscriptionsPerSecond = 100

export function createPresence(
  announce: (topic: string, payload: unknown) => void,
  now = Date.now,
  leftOut: () => void = () => {},
): Presence {
  /** How often each client id has connected, the longest unused first. */
  const versions = new Map<string, number>()
  const sessions = new WeakMap<BrokerConnection, { readonly id: string; readonly version: number }>()
  /** Second, and how many events about subscriptions it has seen. */
  const said = new WeakMap<BrokerConnection, { readonly second: number; events: number }>()

  function sessionOf(connection: BrokerConnection): { readonly id: string; readonly version: number } {
    let session = sessions.get(connection)
    if (session === undefined) {
      const version = (versions.get(connection.clientId) ?? -1) + 1
      versions.delete(connection.clientId)
      versions.set(connection.clientId, version)
      keepNewest(versions, versionsKept)
      session = { id: randomUUID(), version }
      sessions.set(connection, session)
    }
    return session
  }

  function say(connection: BrokerConnection, kind: string, eventType: string, more: object): void {
    const { clientId, speaker } = connection
    if (speaker === undefined || /[+#]/.test(clientId)) return
    announce(`$aws/events/${kind}/${eventType}/${clientId}`, {
      clientId,
      timestamp: now(),
      eventType,
      sessionIdentifier: sessionOf(connection).id,
      principalIdentifier: speaker.principal.id ?? speaker.principal.name,
      ...more,
    })
  }

  /** SUBSCRIBE is no publish, which is limited: a client that does nothing else must not fill queues by it. */
  function saySubscriptions(connection: BrokerConnection, eventType: string, topics: readonly string[]): void {
    if (topics.length === 0) return
    const second = Math.floor(now() / 1_000)
    let counted = said.get(connection)
    if (counted?.second !== second) said.set(connection, (counted = { second, events: 0 }))
    counted.events += 1
    if (counted.events > subscriptionsPerSecond) return leftOut()
    say(connection, 'subscriptions', eventType, { topics })
  }

  return {
    connected(connection) {
      const { version } = sessionOf(connection)
      const { sourceIp } = connection.arrival
      say(connection, 'presence', 'connected', {
        ...(sourceIp !== undefined && { ipAddress: sourceIp }),
        versionNumber: version,
      })
    },
    disconnected(connection) {
      say(connection, 'presence', 'disconnected', {
        clientInitiatedDisconnect: connection.left,
        disconnectReason: reasonOf(connection),
        versionNumber: sessionOf(connection).version,
      })
    },
    subscribed(connection, topics) {
      saySubscriptions(connection, 'subscribed', topics)
    },
    unsubscribed(connection, topics) {
      saySubscriptions(connection, 'unsubscribed', topics)
    },
  }
}

/** AWS's disconnectReason. */
function reasonOf({ left, endedFor, arrival }: BrokerConnection): string {
  if (left) return 'CLIENT_INITIATED_DISCONNECT'
  switch (endedFor) {
    case undefined:
      return 'CONNECTION_LOST'
    case 'taken-over':
      return 'DUPLICATE_CLIENTID'
    case 'keep-alive':
      return 'MQTT_KEEP_ALIVE_TIMEOUT'
    case 'refused':
    case 'revoked':
      return 'AUTH_ERROR'
    case 'expired':
      return arrival.protocol === 'mqtt-ws' ? 'WEBSOCKET_TTL_EXPIRATION' : 'AUTH_ERROR'
    case 'stalled':
      return 'THROTTLED'
    case 'stopping':
      return 'SERVER_INITIATED_DISCONNECT'
    case 'protocol':
    case 'size':
    case 'timeout':
    case 'full':
      return 'CLIENT_ERROR'
  }
}
