import type { SluiceSettings } from '../config/sluice-schema.ts'
import { watchFolders } from '../config/watch.ts'
import type { Accept, AcceptBatch, Access, Principal, Publish } from '../core/access.ts'
import { messageOf, SluiceError } from '../core/errors.ts'
import { newId } from '../core/id.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import type { Door } from '../ingest/accept.ts'
import { wireOfSocket } from '../ingest/broker/wire.ts'
import { createHttpDoor, type HttpDoor } from '../ingest/http.ts'
import { createMqttBroker, type MqttBroker } from '../ingest/mqtt-broker.ts'
import { createTlsFront, type InnerProtocol } from '../ingest/tls/front.ts'
import { readTlsMaterial, tlsFiles } from '../ingest/tls/material.ts'
import { type Lifecycle, Stopping } from './lifecycle.ts'
import { ensureLocalPki, hasLocalPki, keepLocalPki, localServerCertificates, needsLocalPki } from './local-pki.ts'

export interface DoorsOptions {
  readonly settings: SluiceSettings
  readonly access: () => Access
  readonly accept: (door: Door) => Accept
  readonly acceptBatch: (door: Door) => AcceptBatch
  readonly ready: () => Promise<boolean>
  /** Publishes an event of Sluice itself. */
  readonly announce: (topic: string, payload: unknown) => void
  readonly lifecycle: Lifecycle
  readonly log: Log
  readonly metrics: Metrics
  /** What to do when the embedded broker's port is taken; without it that is an error. */
  readonly brokerPortTaken?: ((error: SluiceError) => void) | undefined
}

/** The doors by which devices come in themselves: HTTP, MQTT, and both over TLS. Bridges are the other way in. */
export interface Doors {
  /** Where they listen, one address each. */
  readonly places: readonly string[]
  /** Hands a message to those who subscribed, where there is a broker. */
  distribute(publish: Publish): void
  /** After identities have changed: ends the connections of those who may not stay. */
  recheck(concerns?: (principal: Principal) => boolean): Promise<void>
}

type Where = { readonly host: string; readonly port: number }

/** How often certificates are looked at. */
const certificatesMs = 1_000

/** Opens what `listen` names. `closing` gets what closes each door, as soon as it is open. */
export async function openDoors(
  options: DoorsOptions,
  closing: ((deadlineMs: number) => Promise<void>)[],
): Promise<Doors> {
  const { settings, access, accept, acceptBatch, announce, lifecycle, log, metrics } = options
  const { http, mqtt, https, mqtts } = settings.listen
  const places: string[] = []
  const needsBroker = mqtt !== undefined || mqtts !== undefined || https?.mqtt === true
  let broker: MqttBroker | undefined
  let httpDoor: HttpDoor | undefined

  if (needsBroker) broker = await makeBroker()
  if (http !== undefined || https !== undefined || mqtts !== undefined) httpDoor = makeHttp()
  // The TLS fronts hand their connections to these, so they close after them.
  if (httpDoor !== undefined) {
    const door = httpDoor
    await door.ready()
    closing.push((deadlineMs) => door.close(deadlineMs))
    if (http !== undefined) {
      await opened(door.listen(http))
      places.push(`http://${placeOf(door.address() ?? http)}`)
    }
  }
  if (broker !== undefined) {
    const door = broker
    closing.push((deadlineMs) => door.close(deadlineMs))
    if (mqtt !== undefined && (await openBroker(door, mqtt))) places.push(`mqtt://${placeOf(door.address() ?? mqtt)}`)
  }
  if (needsLocalPki(settings)) await ensureLocalPki(settings, log)
  if (hasLocalPki(settings)) lifecycle.add('local CA', keepLocalPki(settings, log))
  if (https !== undefined) places.push(`https://${placeOf(await openTls('https', 'http', https))}`)
  if (mqtts !== undefined) places.push(`mqtts://${placeOf(await openTls('mqtts', 'mqtt', mqtts))}`)

  return {
    places,
    distribute: (publish) => broker?.distribute(publish),
    recheck: async (concerns) => broker?.recheck(concerns),
  }

  /** A door that opens while everything stops is closed again with the others. */
  async function opened(listening: Promise<void>): Promise<void> {
    await listening
    if (lifecycle.isStopping) throw new Stopping()
  }

  function makeHttp(): HttpDoor {
    const { payload, batchMessages, batchBytes } = settings.limits
    const door = broker
    return createHttpDoor({
      access,
      // What is published over HTTP comes to those who have subscribed, as in AWS IoT: one broker stands behind all doors.
      accept: door?.behind('http', accept('http')) ?? keepingNothing(accept('http')),
      acceptBatch: door === undefined ? acceptBatch('http') : allHandedOn(acceptBatch('http'), door),
      ready: options.ready,
      ...(door !== undefined && { mqtt: (wire, arrival) => door.handle(wire, arrival) }),
      limits: { payload, batchMessages, batchBytes },
      log,
      metrics,
    })
  }

  function makeBroker(): Promise<MqttBroker> {
    const { payload, connections, topicBytes, topicLevels, retained } = settings.limits
    // Room for the topic and the header beside the largest payload.
    return createMqttBroker({
      access,
      accept: accept('mqtt'),
      announce,
      deniedSubscribe: settings.broker.deniedSubscribe,
      limits: {
        publishBytes: payload + 70_000,
        clients: connections,
        topicBytes,
        topicLevels,
        retained: retained.messages,
        retainedBytes: retained.bytes,
        retainedPerPrincipal: retained.perPrincipal,
        retainedBytesPerPrincipal: retained.bytesPerPrincipal,
      },
      log,
      metrics,
    })
  }

  async function openBroker(door: MqttBroker, where: Where): Promise<boolean> {
    try {
      await opened(door.listen(where))
      return true
    } catch (error) {
      if (!(error instanceof SluiceError) || options.brokerPortTaken === undefined) throw error
      options.brokerPortTaken(error)
      return false
    }
  }

  async function openTls(
    name: 'https' | 'mqtts',
    protocol: InnerProtocol,
    where: Where & { readonly proxyProtocol: boolean; readonly clientCertificates: boolean },
  ): Promise<Where> {
    const local = localServerCertificates(settings.data)
    const front = createTlsFront({
      setting: `listen.${name}`,
      protocol,
      proxyProtocol: where.proxyProtocol,
      clientCertificates: where.clientCertificates,
      material: () => readTlsMaterial(settings.tls, local),
      log,
      metrics,
      onConnection(kind, socket, { tls, sourceIp }) {
        const known = { tls, ...(sourceIp !== undefined && { sourceIp }) }
        if (kind === 'http') return httpDoor?.handle(socket, known)
        if (broker !== undefined) return broker.handle(wireOfSocket(socket), { protocol: 'mqtt', ...known })
        socket.on('error', () => {})
        socket.destroy()
      },
    })
    // In front of the doors that it feeds.
    closing.unshift((deadlineMs) => front.close(deadlineMs))
    await opened(front.listen(where))
    const watching = new AbortController()
    lifecycle.add(`certificates of listen.${name}`, () => watching.abort())
    await watchFolders(
      () => tlsFiles(settings.tls, local),
      // What is wrong with them it says itself, and goes on with those it has.
      () => front.reload().catch((error: unknown) => log.debug({ error: messageOf(error) }, 'certificates stay')),
      watching.signal,
      { intervalMs: certificatesMs, onError: (error) => log.warn({ error }, 'certificates are no longer watched') },
    )
    return front.address() ?? where
  }
}

/** Without a broker nobody would keep what is to be retained, and its 200 would say so. */
function keepingNothing(accept: Accept): Accept {
  const message = 'nothing is retained here: there is no embedded broker (listen.mqtt, listen.mqtts)'
  return async (speaker, publish) =>
    publish.retain && publish.payload.length > 0
      ? { kind: 'refused', id: newId(), status: 400, reason: 'retained', message }
      : accept(speaker, publish)
}

/** What comes in batches is handed on too; nothing in them asks to be retained. */
function allHandedOn(acceptBatch: AcceptBatch, broker: MqttBroker): AcceptBatch {
  return async (speaker, publishes) => {
    const accepted = await acceptBatch(speaker, publishes)
    if (accepted.kind === 'each')
      for (const [index, publish] of publishes.entries())
        if (accepted.answers[index]?.kind === 'accepted') broker.distribute(publish)
    return accepted
  }
}

function placeOf({ host, port }: Where): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}
