import { setTimeout as sleep } from 'node:timers/promises'
import type { Accepted, Publish, Speaker } from '../core/access.ts'
import { messageOf, SluiceError } from '../core/errors.ts'
import { backoffMs } from '../core/backoff.ts'
import type { Connection } from '../mqtt/connection.ts'
import { createDialer } from '../mqtt/dial.ts'
import { clientIdOf } from './bridge/client-id.ts'
import { createHandIn } from './bridge/hand-in.ts'
import { Intake } from './bridge/intake.ts'
import { type InUse, markInUse } from './bridge/in-use.ts'
import { migrateSessions } from './bridge/migrate.ts'
import { createOwnership, type Ownership } from './bridge/ownership.ts'
import { leaveSession, type Leaving } from './bridge/leave.ts'
import { sessionsOf } from './bridge/sessions.ts'
import { type BridgeOptions, defaultBridgeLimits } from './bridge/settings.ts'
import { type Slot, takeSlot } from './bridge/slots.ts'
import { Subscriptions } from './bridge/subscriptions.ts'
import { TakeoverWatch } from './bridge/takeover.ts'

export { nameSessionsLeft } from './bridge/sessions.ts'
export type { RefusedMessage } from './bridge/hand-in.ts'
export type { BridgeLimits, BridgeOptions, BridgeSettings, FromPublish } from './bridge/settings.ts'

/** How a bridge is, for health and status. */
export interface BridgeState {
  readonly connected: boolean
  /** Messages taken from the broker and not yet acknowledged. */
  readonly inFlight: number
  /** Known once a slot has been taken. */
  readonly clientId?: string
  /** What went wrong last; absent when all is well. */
  readonly lastError?: string
}

export interface StopOptions {
  /** How long it may take to finish what is in hand; 20 s by default. */
  readonly deadlineMs?: number
  /**
   * Ends the session at the broker: what it holds for us is taken first, what is published from then on goes to others. Left out: true where other
   * ingests share the bridge, false where nobody else would get the messages, so that the broker keeps them until we are back.
   */
  readonly leave?: boolean
}

export interface Bridge {
  readonly name: string
  /** Begins to connect, and to connect again whenever the connection ends. */
  start(): void
  state(): BridgeState
  /** Resolves after `stop`; rejects with SluiceError TAKEN_OVER when another client has taken the session over. */
  readonly ended: Promise<void>
  /** Hands in a message that was refused before and kept under this id; where it is refused again, nothing more is kept. */
  again(publish: Publish, id: string): Promise<Accepted>
  /** Takes no more messages, finishes those in hand and acknowledges them. Never rejects. */
  stop(options?: StopOptions): Promise<void>
}

/** Of a stop's time, how much ending the session may take; the rest is for going in order when there is too much in it. */
const leavingShare = 0.6
/** A connection that lasted so long was a good one; the next try comes soon. */
const steadyMs = 10_000
const gaugeMs = 1_000

/** Takes messages from a broker of one's own over MQTT 5, or 3.1.1 where it knows no better. Throws SluiceError WRONG_USE for a url that is none. */
export function createBridge(options: BridgeOptions): Bridge {
  const { settings, store, metrics } = options
  const limits = { ...defaultBridgeLimits, ...options.limits }
  const bridge = settings.name
  const log = options.log.with({ bridge })
  const dialer = createDialer({
    url: settings.url,
    clientId: '',
    clean: false,
    sessionExpirySeconds: Math.ceil(settings.sessionExpiry / 1000),
    receiveMaximum: settings.receiveMaximum,
    keepaliveMs: settings.keepalive,
    maximumPacketSize: limits.maximumPacketSize,
    connectTimeoutMs: limits.connectTimeoutMs,
    ...(settings.username !== undefined && { username: settings.username }),
    ...(settings.password !== undefined && { password: settings.password }),
    ...(settings.tls !== undefined && { tls: settings.tls }),
  })
  const stopping = new AbortController()
  const watch = new TakeoverWatch()
  const ending = Promise.withResolvers<void>()
  ending.promise.catch(() => {})

  const { accept, keepRefused } = options
  const handIn = createHandIn({ settings, accept, keepRefused, log, metrics })
  const speakerOf = (id: string): Speaker => ({ principal: options.principal, protocol: 'mqtt', clientId: id })

  let running: Promise<void> | undefined
  let slot: Slot | undefined
  let clientId: string | undefined
  let intake: Intake | undefined
  let subscriptions: Subscriptions | undefined
  let connection: Connection | undefined
  let lastError: string | undefined
  let gauge: NodeJS.Timeout | undefined
  let inUse: InUse | undefined
  let migrating: Promise<void> | undefined
  let round = 0

  async function run(): Promise<void> {
    clientId = await ownClientId()
    subscriptions = new Subscriptions({ settings, clientId, store, log, metrics })
    intake = new Intake({ settings, limits, handIn, speaker: speakerOf(clientId), log, metrics })
    gauge = setInterval(() => gaugeInFlight(), gaugeMs)
    await remember(clientId)
    if (slot === undefined) inUse = markInUse(store, clientId, limits.leaseMs, log)
    const ownership = createOwnership(store, clientId)
    while (!stopping.signal.aborted) {
      const opened = await connect(clientId, intake, ownership)
      if (opened !== undefined) await serve(opened, intake, subscriptions)
      if (!stopping.signal.aborted) await wait(backoffMs(limits.reconnect, round))
      round += 1
    }
  }

  async function ownClientId(): Promise<string> {
    const { share, standby = false, clientId: own } = settings
    // With ids of their own, those who share need no slots.
    if (!standby && (share === undefined || own !== undefined)) return own ?? clientIdOf(bridge, 1)
    const onWaiting = (why: string) => (lastError = why)
    slot = await takeSlot({ store, bridge, leaseMs: limits.leaseMs, standby, onWaiting, signal: stopping.signal, log })
    lastError = undefined
    void slot.lost.then(() => end(takenOver('another ingest has taken its slot, because it was not renewed in time')))
    return own ?? clientIdOf(bridge, slot.number)
  }

  async function connect(id: string, into: Intake, ownership: Ownership): Promise<Connection | undefined> {
    try {
      if (!(await ownership.isOurs())) {
        end(takenOver('another ingest has connected with the same client id'))
        return undefined
      }
      return await dialer.dial({ publish: (message) => into.take(message) }, stopping.signal, { clientId: id })
    } catch (error) {
      watch.failed()
      if (!stopping.signal.aborted) complain(messageOf(error), 'not connected; trying again')
      return undefined
    }
  }

  async function serve(opened: Connection, into: Intake, filters: Subscriptions): Promise<void> {
    const { version, sessionPresent } = opened
    const since = performance.now()
    connection = opened
    watch.connected(since)
    metrics.set('sluice_bridge_connected', { bridge }, 1)
    log.info({ clientId, url: settings.url, mqtt: version === 5 ? '5' : '3.1.1', sessionPresent }, 'connected')
    into.attach({
      sessionPresent,
      ignoresRetained: version === 4 && settings.retained === 'never',
      acknowledge: (packetId, qos, reason) => opened.acknowledge(packetId, qos, reason),
      pause: () => opened.pause(),
      resume: () => opened.resume(),
    })
    try {
      lastError = await filters.apply(opened)
      log.debug({ clientId }, 'subscribed')
      migrating ??= migrate(opened.clientId)
    } catch (error) {
      // Without its filters a connection is of no use; where it has ended by itself, that is told below.
      opened.destroy(`could not subscribe: ${messageOf(error)}`)
    }
    const closed = await opened.closed
    connection = undefined
    into.detach()
    metrics.set('sluice_bridge_connected', { bridge }, 0)
    if (stopping.signal.aborted) return
    if (watch.ended(closed, performance.now())) {
      end(takenOver('another client has connected with the same client id'))
      return
    }
    complain(closed.reason, 'the connection ended; trying again')
    if (performance.now() - since > steadyMs) round = 0
  }

  /** Waits for a store that is away: a session that nobody could find again must not be begun. */
  async function remember(id: string): Promise<void> {
    const sessions = sessionsOf(store)
    for (let tries = 0; !stopping.signal.aborted; tries += 1) {
      try {
        await sessions.remember({ bridge, clientId: id })
        store.onReturn(() => void sessions.remember({ bridge, clientId: id }).catch(() => {}))
        return
      } catch (error) {
        complain(messageOf(error), 'not connected: the store is away')
        await wait(backoffMs(limits.reconnect, tries))
      }
    }
  }

  function migrate(id: string): Promise<void> {
    const { signal } = stopping
    const speaker = speakerOf(id)
    return migrateSessions({ settings, limits, clientId: id, store, dialer, handIn, speaker, log, metrics, signal })
  }

  /** Says what is wrong once, and again when it changes: a broker that is away for a night fills no log. */
  function complain(reason: string, message: string): void {
    if (reason !== lastError) log.warn({ url: settings.url, reason }, message)
    lastError = reason
  }

  function takenOver(why: string): SluiceError {
    const advice =
      settings.share === undefined
        ? 'let one ingest only have this bridge, or set "standby" so that others wait until it is gone (or "share", so that several take turns)'
        : 'give every ingest that shares this bridge the same queue, and none a clientId of its own'
    return new SluiceError('TAKEN_OVER', `bridge ${bridge} (client id ${clientId}) has stopped: ${why}; ${advice}`)
  }

  /** Ends for good, without a fight. */
  function end(why: SluiceError): void {
    if (stopping.signal.aborted) return
    stopping.abort(why)
    lastError = why.message
    log.error({ clientId }, why.message)
    connection?.destroy(why.message)
    inUse?.lapse()
    void close().finally(() => ending.reject(why))
  }

  async function close(leave?: (others: boolean) => Promise<void>): Promise<void> {
    try {
      if (slot === undefined) await leave?.(false)
      else await slot.release(leave)
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'the bridge did not stop in order; nothing is lost')
    }
    intake?.close()
    connection?.destroy()
    clearInterval(gauge)
    gaugeInFlight()
    metrics.set('sluice_bridge_connected', { bridge }, 0)
  }

  async function finish(others: boolean, wanted: boolean | undefined, deadlineMs: number): Promise<void> {
    const end = performance.now() + deadlineMs
    const opened = connection
    const leaving = wanted ?? others
    if (opened === undefined || intake === undefined || subscriptions === undefined) {
      if (leaving)
        log.warn({ clientId }, 'not connected, so the session stays at the broker; start again to take its messages')
      return
    }
    if (leaving) {
      log.info({ clientId }, 'leaving: other ingests get the messages from now on')
      if (await left({ connection: opened, intake, subscriptions, dialer }, deadlineMs * leavingShare)) return
    }
    intake.stop()
    await Promise.race([intake.idle(), opened.closed])
    // What it has not read of our acknowledgements it would send again: so it gets all the time there is.
    const inTime = await opened.disconnect({ withinMs: Math.max(end - performance.now(), 0) })
    if (!inTime) log.warn({ clientId }, 'the broker did not close in time: what it has not read of ours comes again')
  }

  /** Whether the session could be ended. It may hold more than a stop has time for. */
  async function left(session: Omit<Leaving, 'signal'>, ms: number): Promise<boolean> {
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(new Error('it holds more than could be taken in time')), ms)
    try {
      await leaveSession({ ...session, signal: late.signal })
      return true
    } catch (error) {
      log.warn(
        { clientId, reason: messageOf(error) },
        'the session stays at the broker until an ingest takes its place',
      )
      return false
    } finally {
      clearTimeout(timer)
    }
  }

  function gaugeInFlight(): void {
    metrics.set('sluice_bridge_in_flight', { bridge }, intake?.inHand ?? 0)
  }

  async function wait(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: stopping.signal }).catch(() => {})
  }

  return {
    name: bridge,
    ended: ending.promise,
    start() {
      running ??= run().catch((error: unknown) => {
        if (!stopping.signal.aborted) end(new SluiceError('BROKER_AWAY', messageOf(error), { cause: error }))
      })
    },
    state: () => ({
      connected: connection !== undefined,
      inFlight: intake?.inHand ?? 0,
      ...(clientId !== undefined && { clientId }),
      ...(lastError !== undefined && { lastError }),
    }),
    again: (publish, id) => handIn.again(speakerOf(clientId ?? clientIdOf(bridge, 1)), publish, id),
    async stop({ deadlineMs = 20_000, leave } = {}) {
      if (!stopping.signal.aborted) {
        stopping.abort(new Error('the bridge is stopping'))
        const deadline = new AbortController()
        const orderly = Promise.all([close((others) => finish(others, leave, deadlineMs)), migrating])
        await Promise.race([orderly, sleep(deadlineMs, undefined, { signal: deadline.signal }).catch(() => {})])
        deadline.abort()
        await Promise.race([Promise.all([close(), inUse?.release()]), sleep(1_000, undefined, { ref: false })])
        ending.resolve()
      }
      await running
    },
  }
}
