import { randomUUID } from 'node:crypto'
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

export function createPresence(announce: (topic: string, payload: unknown) => void, now = Date.now): Presence {
  /** How often each client id has connected, the longest unused first. */
  const versions = new Map<string, number>()
  const sessions = new WeakMap<BrokerConnection, { readonly id: string; readonly version: number }>()

  function sessionOf(connection: BrokerConnection): { readonly id: string; readonly version: number } {
    let session = sessions.get(connection)
    if (session === undefined) {
      const version = (versions.get(connection.clientId) ?? -1) + 1
      versions.delete(connection.clientId)
      versions.set(connection.clientId, version)
      const [oldest] = versions.keys()
      if (versions.size > versionsKept && oldest !== undefined) versions.delete(oldest)
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
      if (topics.length > 0) say(connection, 'subscriptions', 'subscribed', { topics })
    },
    unsubscribed(connection, topics) {
      if (topics.length > 0) say(connection, 'subscriptions', 'unsubscribed', { topics })
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
