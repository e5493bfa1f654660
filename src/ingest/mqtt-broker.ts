import { createServer } from 'node:net'
import type { IConnectPacket, Packet } from 'mqtt-packet'
import type { Accept, Accepted, Access, Principal, Publish, Speaker } from '../core/access.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import { createPacedLog } from '../core/paced-log.ts'
import { admit, type AdmissionOptions } from './broker/admission.ts'
import type { Arrival } from './broker/arrival.ts'
import { BrokerConnection, type ClosedFor } from './broker/connection.ts'
import { createDistribution } from './broker/distribution.ts'
import { Inbound } from './broker/inbound.ts'
import { type BrokerLimits, defaultBrokerLimits } from './broker/limits.ts'
import { MemoryBudget } from './broker/memory-budget.ts'
import { createPresence } from './broker/presence.ts'
import { Retained } from './broker/retained.ts'
import { Sessions } from './broker/sessions.ts'
import { Staying } from './broker/staying.ts'
import { createSubscriptions } from './broker/subscriptions.ts'
import { type Wire, wireOfSocket } from './broker/wire.ts'
import { RateLimiter } from './limits.ts'
import { failedToListen } from './listen-error.ts'
import { addressOf, listenOn } from './listen-on.ts'
import { sourceIpOf } from './source-ip.ts'
import { Unattended } from './unattended.ts'

export interface MqttBrokerOptions {
  /** The identities and policies in force; asked for every decision, because a reload replaces them. */
  readonly access: () => Access
  readonly accept: Accept
  readonly limits?: Partial<BrokerLimits>
  /** What a SUBSCRIBE that policies deny gets: 0x80 in the SUBACK (default), or the end of the connection, as AWS IoT of 2019. */
  readonly deniedSubscribe?: 'suback' | 'disconnect'
  /** Publishes events of clients that come, go and subscribe. */
  readonly announce?: (topic: string, payload: unknown) => void
  readonly log: Log
  readonly metrics: Metrics
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

export interface MqttBroker {
  /** Opens the door; throws SluiceError LISTEN_FAILED, which says what has the port. `port: 0` takes a free one. */
  listen(where: { readonly host: string; readonly port: number }): Promise<void>
  /** Where it listens; undefined before `listen` and after `close`. */
  address(): { readonly host: string; readonly port: number } | undefined
  /** Takes a connection that another door has opened: TLS, or a WebSocket. */
  handle(wire: Wire, arrival: Arrival): void
  /** Hands a message to its subscribers, and keeps it where it is retained; what is to go to rules has gone there. */
  distribute(publish: Publish): void
  /**
   * The way in of another door, with the broker behind it: what is accepted is distributed, and a retained message is accepted only
   * where there is room to keep it.
   */
  behind(door: 'http', accept: Accept): Accept
  /** After identities or policies have changed: ends the connections of those who may not connect any more; of all, or of some. */
  recheck(concerns?: (principal: Principal) => boolean): Promise<void>
  /** Takes no more publishes, acknowledges those in flight, publishes last wills, ends; cuts what is left after `deadlineMs`. */
  close(deadlineMs?: number): Promise<void>
}

const sweepMs = 500

/**
 * The embedded broker, MQTT 3.1.1. A connection (broker/connection.ts) is admitted into a session (broker/sessions.ts), which has two
 * sides: what the client publishes (broker/inbound.ts), where an acknowledgement means that the message is durable, and what it gets
 * (broker/outbound.ts). Sessions and retained messages live in memory. Decision 19 says why it is our own.
 */
export async function createMqttBroker(options: MqttBrokerOptions): Promise<MqttBroker> {
  const { access, accept, log, metrics, announce, now = Date.now } = options
  const limits = { ...defaultBrokerLimits, ...options.limits }
  const paced = createPacedLog(log)
  const dropped = (reason: string): void => metrics.count('sluice_broker_messages_dropped_total', { reason })
  const sessions = new Sessions({ limits, dropped, mayReceive })
  const retained = new Retained(limits, (messages) => metrics.set('sluice_broker_retained_messages', {}, messages))
  const { acceptKept, distribute } = createDistribution({ access, sessions, retained, paced, metrics, dropped })
  const budget = new MemoryBudget(limits.totalInFlightBytes)
  const wills = new Unattended(accept, { most: limits.wills, ms: limits.willMs }, () => dropped('will'))
  const tooMany = (): void => metrics.count('sluice_events_total', { outcome: 'dropped' })
  const presence = announce === undefined ? undefined : createPresence(announce, now, tooMany)
  const connections = new Map<BrokerConnection, Inbound>()
  /** Those that have been admitted. */
  const clients = new Set<BrokerConnection>()
  /** Those that have not been admitted yet, the oldest first. */
  const strangers = new Set<BrokerConnection>()
  const staying = new Staying(access, log)
  let closing = false

  const admission: AdmissionOptions = {
    access,
    sessions,
    retained,
    limits,
    log,
    paced,
    metrics,
    now,
    connects: new RateLimiter({
      publishesPerSecond: limits.connectsPerSecond,
      bytesPerSecond: Number.MAX_SAFE_INTEGER,
      burst: limits.connectBurst,
    }),
  }
  const denied = options.deniedSubscribe ?? 'suback'
  const subscriptions = createSubscriptions({ access, sessions, retained, limits, denied, paced })

  function take(connection: BrokerConnection, packet: Packet): void {
    const inbound = connections.get(connection)
    if (packet.cmd === 'disconnect') {
      connection.left = true
      return void connection.destroy()
    }
    if (inbound === undefined || closing) return
    const outbound = connection.session?.outbound
    const { messageId = 0 } = packet
    switch (packet.cmd) {
      case 'connect':
        return void connect(connection, packet)
      case 'publish':
        return inbound.publish(packet)
      case 'pubrel':
        return inbound.release(messageId)
      case 'puback':
        return outbound?.puback(messageId)
      case 'pubrec':
        return outbound?.pubrec(messageId)
      case 'pubcomp':
        return outbound?.pubcomp(messageId)
      case 'subscribe': {
        const granted = subscriptions.subscribe(connection, packet)
        return presence?.subscribed(connection, granted)
      }
      case 'unsubscribe': {
        const filters = subscriptions.unsubscribe(connection, packet)
        return presence?.unsubscribed(connection, filters)
      }
      default: // the connection lets nothing else through
    }
  }

  async function connect(connection: BrokerConnection, packet: IConnectPacket): Promise<void> {
    connection.keepAliveMs = Math.min((packet.keepalive ?? 0) * 1_000 || limits.keepAliveMs, limits.keepAliveMs)
    staying.begin(connection)
    const opened = await admit(connection, packet, admission)
    if (typeof opened === 'number') return connection.refuse(opened)
    if (connection.destroyed) return
    if (closing) return void connection.destroy()
    const { session, present } = opened
    strangers.delete(connection)
    clients.add(connection)
    metrics.set('sluice_broker_clients', {}, clients.size)
    const { clientId, speaker } = connection
    const { sourceIp } = connection.arrival
    log.debug({ clientId, principal: speaker?.principal.name, sourceIp }, 'connected')
    subscriptions.restore(connection, session)
    connection.welcome(present && packet.protocolVersion !== 3) // MQTT 3.1 has no such flag
    session.outbound.attach(connection)
    presence?.connected(connection)
    connection.admit()
    staying.admitted(connection)
  }

  function acceptFrom(connection: BrokerConnection, publish: Publish): Promise<Accepted> {
    const { speaker } = connection
    if (speaker !== undefined && !publish.topic.startsWith('$SYS/')) return acceptKept('mqtt', accept, speaker, publish)
    metrics.count('sluice_messages_refused_total', { door: 'mqtt', reason: 'reserved' })
    return Promise.resolve({
      kind: 'refused',
      id: '',
      status: 403,
      reason: 'reserved',
      message: 'reserved for the broker itself',
    })
  }

  function mayReceive(connection: BrokerConnection, topic: string): boolean {
    const { speaker, clientId } = connection
    if (speaker === undefined) return false
    const decision = access().decide(speaker, 'iot:Receive', topic)
    if (decision.allow) return true
    const { because } = decision
    const { name } = speaker.principal
    const facts = () => ({ clientId, principal: name, topic: topic.slice(0, 256), because })
    paced.warn(`receive ${name}`, facts, 'delivery refused')
    return false
  }

  async function publishWill(speaker: Speaker, will: Publish): Promise<void> {
    if (await wills.publish(speaker, will)) distribute(will)
    else retained.release(will)
  }

  const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }, (socket) => {
    const sourceIp = sourceIpOf(socket.remoteAddress)
    handle(wireOfSocket(socket), { protocol: 'mqtt', ...(sourceIp !== undefined && { sourceIp }) })
  })

  function handle(wire: Wire, arrival: Arrival): void {
    if (closing || connections.size >= limits.clients || !hasRoomForStranger()) return refuseWire(wire)
    const connection = new BrokerConnection(wire, arrival, limits, {
      packet: take,
      closedByUs,
      closed,
    })
    const inbound = new Inbound({
      connection,
      accept: (publish) => acceptFrom(connection, publish),
      distribute,
      limits,
      budget,
      dropped,
    })
    connections.set(connection, inbound)
    strangers.add(connection)
  }

  /** An honest client sends its CONNECT at once: the oldest that has not makes room, so that silent ones keep nobody out. */
  function hasRoomForStranger(): boolean {
    if (strangers.size < limits.strangers) return true
    for (const stranger of strangers) {
      if (stranger.connecting) continue
      strangers.delete(stranger)
      stranger.cut('full', 'too many connections without a CONNECT')
      return true
    }
    return false
  }

  function refuseWire({ stream }: Wire): void {
    stream.on('error', () => {})
    stream.destroy()
    countClosed('full')
    paced.warn('full', { clients: connections.size, strangers: strangers.size }, 'no room for another connection')
  }

  function closedByUs(connection: BrokerConnection, reason: ClosedFor, detail: string): void {
    countClosed(reason)
    const facts = {
      clientId: connection.clientId,
      principal: connection.speaker?.principal.name,
      sourceIp: connection.arrival.sourceIp,
    }
    paced.warn(
      `closed ${reason} ${connection.speaker?.principal.name ?? ''}`,
      { ...facts, reason, detail },
      'connection closed',
    )
  }

  function countClosed(reason: ClosedFor): void {
    metrics.count('sluice_broker_connections_closed_total', { reason })
  }

  function closed(connection: BrokerConnection): void {
    connections.get(connection)?.close()
    connections.delete(connection)
    strangers.delete(connection)
    const { speaker, session, will } = connection
    if (connection.ready) presence?.disconnected(connection)
    if (clients.delete(connection)) metrics.set('sluice_broker_clients', {}, clients.size)
    if (session !== undefined) sessions.leave(session, connection)
    if (will === undefined) return
    if (connection.ready && !connection.left && speaker !== undefined) void publishWill(speaker, will)
    else retained.release(will)
  }

  const sweeper = setInterval(() => {
    const moment = performance.now()
    for (const connection of connections.keys()) {
      if (!connection.ready) {
        if (moment - connection.since > limits.connectMs) connection.cut('timeout', 'no CONNECT in time')
      } else if (connection.stalledFor(moment) > limits.stallMs) {
        connection.cut('stalled', 'it has not read for too long')
      } else if (!connection.paused && moment - connection.lastSeen > connection.keepAliveMs * 1.5) {
        connection.cut('keep-alive', 'nothing came within one and a half times its keep-alive') // [MQTT-3.1.2-24]
      }
    }
    const time = now()
    for (const connection of clients) staying.lookAtTimes(connection, time)
    sessions.sweep()
  }, sweepMs).unref()

  async function close(deadlineMs = 10_000): Promise<void> {
    closing = true
    clearInterval(sweeper)
    for (const connection of connections.keys()) connection.endedFor ??= 'stopping'
    const end = performance.now() + deadlineMs
    const left = (): number => Math.max(0, end - performance.now())
    const listening = server.listening ? new Promise((resolve) => server.close(resolve)) : Promise.resolve()
    const answered = Promise.all([...connections.values()].map((inbound) => inbound.idle()))
    await Promise.race([answered, wait(left())])
    await Promise.all([...connections.keys()].map((connection) => connection.close()))
    await wills.close(left())
    await listening
  }

  return {
    close,
    handle,
    distribute,
    behind: (door, acceptThere) => async (speaker, publish) => {
      const accepted = await acceptKept(door, acceptThere, speaker, publish)
      if (accepted.kind === 'accepted') distribute(publish)
      return accepted
    },
    async listen({ host, port }) {
      try {
        await listenOn(server, host, port)
      } catch (error) {
        await close(0)
        throw await failedToListen('listen.mqtt', host, port, error)
      }
      log.info({}, 'the embedded broker keeps sessions and retained messages in memory; they end with this process')
    },
    address: () => addressOf(server),
    recheck: (concerns = () => true) => staying.recheck(clients, concerns),
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref())
}
