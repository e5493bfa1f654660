import { once } from 'node:events'
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import type { Packet } from 'mqtt-packet'
import type { Accept, Accepted, Access, Principal, Publish } from '../core/access.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import { isToRule } from '../core/topic.ts'
import { answerConnect, answerWill, connackError, connectionOf, publishFrom } from './broker/aedes-hooks.ts'
import { admit, type AdmissionOptions, connack, type ConnectRequest, generatedClientId } from './broker/admission.ts'
import { type Arrival, presentedBy } from './broker/arrival.ts'
import { BrokerConnection, type ClosedFor } from './broker/connection.ts'
import { Inbound } from './broker/inbound.ts'
import { type BrokerLimits, defaultBrokerLimits } from './broker/limits.ts'
import { MemoryBudget } from './broker/memory-budget.ts'
import { BrokerPersistence } from './broker/persistence.ts'
import { createPresence } from './broker/presence.ts'
import { Sessions } from './broker/sessions.ts'
import { complainAboutFilterText, createSubscriptions } from './broker/subscriptions.ts'
import { Staying } from './broker/staying.ts'
import { type Wire, wireOfSocket } from './broker/wire.ts'
import { RateLimiter } from './limits.ts'
import { addressOf, listenOn } from './listen-on.ts'
import { failedToListen } from './listen-error.ts'
import { createPacedLog } from '../core/paced-log.ts'
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
  /** Hands a message to its subscribers; what is to go to rules has gone there. */
  distribute(publish: Publish): void
  /** After identities or policies have changed: ends the connections of those who may not connect any more; of all, or of some. */
  recheck(concerns?: (principal: Principal) => boolean): Promise<void>
  /** Takes no more publishes, acknowledges those in flight, publishes last wills, ends; cuts what is left after `deadlineMs`. */
  close(deadlineMs?: number): Promise<void>
}

const sweepMs = 500
/** What a connection emits when aedes has forgotten its client. */
const unregistered = 'unregistered'

/**
 * The embedded broker, MQTT 3.1.1: aedes keeps connections, sessions, subscriptions and deliveries; publishing is ours
 * (broker/inbound.ts), because an acknowledgement means here that the message is durable. Sessions and retained messages
 * live in memory. Source of every peculiarity: feasibility-doors §1.
 */
export async function createMqttBroker(options: MqttBrokerOptions): Promise<MqttBroker> {
  const { access, accept, log, metrics, announce, now = Date.now } = options
  const limits = { ...defaultBrokerLimits, ...options.limits }
  const paced = createPacedLog(log)
  const dropped = (reason: string, by = 1): void =>
    metrics.count('sluice_broker_messages_dropped_total', { reason }, by)
  const sessions = new Sessions(limits, dropped)
  const persistence = new BrokerPersistence(sessions, limits, (topic) => {
    dropped('retained-full')
    paced.warn('retained', { topic }, 'no room for another retained message; it was delivered and is not kept')
  })
  const budget = new MemoryBudget(limits.totalInFlightBytes)
  const wills = new Unattended(accept, { most: limits.wills, ms: limits.willMs }, () => dropped('will'))
  const tooMany = (): void => metrics.count('sluice_events_total', { outcome: 'dropped' })
  const presence = announce === undefined ? undefined : createPresence(announce, now, tooMany)
  const connections = new Map<BrokerConnection, Inbound>()
  /** Those that have been admitted. */
  const clients = new Map<string, BrokerConnection>()
  /** Those that aedes knows; it forgets them a little after their end, and would forget a successor that came too early. */
  const registered = new Map<string, BrokerConnection>()
  const requests = new WeakMap<BrokerConnection, ConnectRequest>()
  /** Those that have not been admitted yet, the oldest first. */
  const strangers = new Set<BrokerConnection>()
  const staying = new Staying(access, log)
  let closing = false

  const admission: AdmissionOptions = {
    access,
    sessions,
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
    async endOther(clientId) {
      for (let other = registered.get(clientId); other !== undefined; other = registered.get(clientId)) {
        const gone = once(other, unregistered)
        other.endedFor ??= 'taken-over'
        other.destroy()
        await gone
      }
    },
  }

  const subscriptions = createSubscriptions({ access, sessions, limits, paced, dropped })

  const aedes = await Aedes.createBroker({
    persistence,
    // One message a slot would let a subscriber that stalls stop everybody; ours is cut off by its backlog instead.
    concurrency: 0,
    // Off (0 would cost a listener for every delivery): it takes one that reads slowly for one that doesn't read.
    drainTimeout: 2 ** 31 - 1,
    connectTimeout: limits.connectMs,
    preConnect(client, packet, done) {
      const connection = connectionOf(client)
      connection.keepAliveMs = Math.min((packet.keepalive ?? 0) * 1_000 || limits.keepAliveMs, limits.keepAliveMs)
      // aedes' own timer doesn't see what we handle.
      packet.keepalive = 0
      if (packet.clientId === '' && packet.clean !== false) packet.clientId = generatedClientId()
      const { clientId, clean = true, will } = packet
      requests.set(connection, { clientId, clean, ...(will !== undefined && { will }) })
      if (closing) connection.destroy()
      else done(null, true)
    },
    authenticate(client, username, password, done) {
      const connection = connectionOf(client)
      const request = requests.get(connection)
      if (request === undefined) return done(connackError(connack.unavailable), false)
      staying.begin(connection)
      const presented = presentedBy(connection.arrival, {
        clientId: request.clientId,
        ...(username !== undefined && { username }),
        // Its own copy: the one we got is a view on the packet.
        ...(password !== undefined && { password: Buffer.from(password) }),
      })
      void answerConnect(admit(connection, request, presented, admission), done)
    },
    authorizeSubscribe(client, { topic, qos }, done) {
      const connection = connectionOf(client)
      const malformed = complainAboutFilterText(topic)
      if (malformed !== undefined) {
        connection.cut('protocol', malformed)
        return done(new Error(malformed))
      }
      const allowed = subscriptions.subscribe(connection, topic, qos)
      if (!allowed && options.deniedSubscribe === 'disconnect' && connection.ready) {
        connection.cut('refused', 'it may not subscribe to that')
        return done(new Error('not allowed'))
      }
      // Null is 0x80 in the SUBACK [MQTT-3.9.3-2].
      done(null, allowed ? { topic, qos } : null)
    },
    authorizeForward: (client, packet) => subscriptions.delivery(connectionOf(client), packet),
    // Publishes of clients never come this way: this is a last will, or an event of aedes itself.
    authorizePublish(client, packet, done) {
      if (client === null) return done(null)
      const connection = connectionOf(client)
      const { speaker } = connection
      if (connection.left || speaker === undefined) return done(new Error('no last will'))
      void answerWill(wills.publish(speaker, publishFrom(packet)), done)
    },
  })
  aedes.on('connackSent', ({ returnCode }, client) => {
    const connection = connectionOf(client)
    if (returnCode !== connack.accepted || connection.destroyed) return
    strangers.delete(connection)
    clients.set(connection.clientId, connection)
    metrics.set('sluice_broker_clients', {}, clients.size)
    log.debug(
      {
        clientId: connection.clientId,
        principal: connection.speaker?.principal.name,
        sourceIp: connection.arrival.sourceIp,
      },
      'connected',
    )
    presence?.connected(connection)
    connection.admit()
    staying.admitted(connection)
  })
  aedes.on('client', (client) => void registered.set(client.id, connectionOf(client)))
  aedes.on('clientDisconnect', (client) => {
    const connection = connectionOf(client)
    if (registered.get(client.id) === connection) registered.delete(client.id)
    connection.emit(unregistered)
  })
  aedes.on('subscribe', (granted, client) => {
    const refused = 0x80
    const filters = granted.filter(({ qos }) => (qos as number) < refused).map(({ topic }) => topic)
    presence?.subscribed(connectionOf(client), filters)
  })
  aedes.on('unsubscribe', (filters, client) => {
    const connection = connectionOf(client)
    const { session } = connection
    // At its end aedes takes away the subscriptions of a session that is not kept; the client asked for nothing.
    if (session === undefined || client.closed || connection.destroyed) return
    for (const filter of filters) sessions.unsubscribe(session, filter)
    presence?.unsubscribed(connection, filters)
  })
  // What aedes takes for an error ends one connection, and is a fact about that client.
  aedes.on('clientError', (client, error) => {
    // After the end there is one for every delivery that was under way.
    if (!connectionOf(client).destroyed) log.debug({ clientId: client.id, error: messageOf(error) }, 'client error')
  })
  aedes.on('connectionError', (_client, error) => log.debug({ error: messageOf(error) }, 'connection error'))
  const emitter: NodeJS.EventEmitter = aedes
  emitter.on('error', (error: unknown) => log.error({ error: messageOf(error) }, 'the embedded broker failed'))

  /** Packets that our connections hand us: PUBLISH and PUBREL. */
  function take(connection: BrokerConnection, packet: Packet): void {
    const inbound = connections.get(connection)
    if (inbound === undefined || closing) return
    if (packet.cmd === 'publish') inbound.publish(packet)
    else inbound.release(packet.messageId ?? 0)
  }

  function acceptFrom(connection: BrokerConnection, publish: Publish): Promise<Accepted> {
    const { speaker } = connection
    // aedes speaks to itself there: a publish could throw other clients out, whatever a policy says.
    if (speaker !== undefined && !publish.topic.startsWith('$SYS/')) return accept(speaker, publish)
    metrics.count('sluice_messages_refused_total', { door: 'mqtt', reason: 'reserved' })
    return Promise.resolve({
      kind: 'refused',
      id: '',
      status: 403,
      reason: 'reserved',
      message: 'reserved for the broker itself',
    })
  }

  /** Hands an accepted message to its subscribers. */
  function distribute({ topic, payload, qos, retain }: Publish): void {
    if (aedes.closed || isToRule(topic)) return
    const packet = { cmd: 'publish', topic, payload, qos, retain, dup: false } as const
    aedes.publish(packet, () => {})
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
    aedes.handle(connection)
  }

  /** An honest client sends its CONNECT at once: the oldest that has not makes room, so that silent ones keep nobody out. */
  function hasRoomForStranger(): boolean {
    if (strangers.size < limits.strangers) return true
    for (const stranger of strangers) {
      if (requests.has(stranger)) continue
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
    if (connection.ready) presence?.disconnected(connection)
    if (clients.get(connection.clientId) === connection) clients.delete(connection.clientId)
    metrics.set('sluice_broker_clients', {}, clients.size)
    if (connection.session !== undefined) sessions.leave(connection.session, connection)
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
    for (const connection of clients.values()) staying.lookAtTimes(connection, time)
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
    await Promise.race([new Promise<void>((resolve) => aedes.close(resolve)), wait(left())])
    await wills.close(left())
    for (const connection of connections.keys()) connection.destroy()
    await listening
  }

  return {
    close,
    handle,
    distribute,
    async listen({ host, port }) {
      try {
        await listenOn(server, host, port)
      } catch (error) {
        // aedes has timers, which would keep a process alive that goes on without this door.
        await close(0)
        throw await failedToListen('listen.mqtt', host, port, error)
      }
      log.info({}, 'the embedded broker keeps sessions and retained messages in memory; they end with this process')
    },
    address: () => addressOf(server),
    recheck: (concerns = () => true) => staying.recheck(clients.values(), concerns),
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref())
}
