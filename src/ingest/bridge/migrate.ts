import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Speaker } from '../../core/access.ts'
import { messageOf } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { Store } from '../../core/queue.ts'
import type { Dialer } from '../../mqtt/dial.ts'
import { filtersKey } from './client-id.ts'
import type { HandIn } from './hand-in.ts'
import { inUseKey } from './in-use.ts'
import { Intake } from './intake.ts'
import { leaveSession } from './leave.ts'
import { sessionsOf } from './sessions.ts'
import type { BridgeLimits, BridgeSettings } from './settings.ts'
import { slotKeyOf } from './slots.ts'
import { Subscriptions } from './subscriptions.ts'

export interface MigrationOptions {
  readonly settings: BridgeSettings
  readonly limits: BridgeLimits
  /** The client id that counts now; it has its subscriptions already, so that nothing is missed. */
  readonly clientId: string
  readonly store: Store
  readonly dialer: Dialer
  readonly handIn: HandIn
  readonly speaker: Speaker
  readonly log: Log
  readonly metrics: Metrics
  readonly signal: AbortSignal
}

/** How long a broker gets to read the last acknowledgements when the migration is stopped. */
const farewellMs = 3_000

/**
 * Takes what is in sessions that this bridge has left at the broker under other client ids, because `share` or `clientId` were others,
 * and ends them. What was last subscribed stays in the store until then, so that the next start goes on where one was stopped or died. A session
 * that another ingest uses is waited for. Resolves when there is none left, or `signal` is aborted. Never rejects.
 */
export async function migrateSessions(options: MigrationOptions): Promise<void> {
  const { settings, limits, clientId, store, log, signal } = options
  const sessions = sessionsOf(store)
  let said = ''
  while (!signal.aborted) {
    let left = 0
    try {
      for (const other of await sessions.clientIds(settings.name)) {
        if (other === clientId || (await isOfOurs(store, settings, other))) continue
        if (!(await takeOver(options, other))) left += 1
        else await sessions.forget({ bridge: settings.name, clientId: other })
      }
      if (left === 0) return
    } catch (error) {
      const reason = messageOf(error)
      // oxlint-disable-next-line typescript/no-unnecessary-condition -- aborted meanwhile
      if (reason !== said && !signal.aborted)
        log.warn({ reason }, 'a session left at the broker was not taken over; trying again')
      said = reason
    }
    await sleep(limits.leaseMs / 2, undefined, { signal }).catch(() => {})
  }
}

/** Whether a session belongs to one of those who take turns with us: it waits for one of them, as it should. */
async function isOfOurs(store: Store, { name, share }: BridgeSettings, clientId: string): Promise<boolean> {
  if (share === undefined || slotKeyOf(name, clientId) === undefined) return false
  const filters = await store.get<unknown>(filtersKey(clientId))
  return Array.isArray(filters) && filters.some((filter) => String(filter).startsWith(`$share/${share}/`))
}

/** False: another ingest uses the client id. */
async function takeOver(options: MigrationOptions, clientId: string): Promise<boolean> {
  const { settings, limits, store, log } = options
  if ((await store.get(filtersKey(clientId))) === undefined) return true
  const holder = randomUUID()
  const slot = slotKeyOf(settings.name, clientId)
  const keys = [inUseKey(clientId), ...(slot === undefined ? [] : [slot])]
  const held: string[] = []
  const renewal = setInterval(() => {
    for (const key of held) void store.lease(key, holder, limits.leaseMs).catch(() => {})
  }, limits.leaseMs / 3)
  try {
    for (const key of keys) {
      if (!(await store.lease(key, holder, limits.leaseMs))) return false
      held.push(key)
    }
    log.info({ from: clientId }, 'taking over the session of an earlier client id')
    const messages = await drain(options, clientId)
    log.info({ from: clientId, messages }, 'took over the session of an earlier client id')
    return true
  } finally {
    clearInterval(renewal)
    for (const key of held) await store.release(key, holder).catch(() => {})
  }
}

/** Says how many messages there were. */
async function drain(options: MigrationOptions, clientId: string): Promise<number> {
  const { settings, limits, store, dialer, handIn, speaker, log, metrics, signal } = options
  const intake = new Intake({ settings, limits, handIn, speaker, log, metrics })
  const subscriptions = new Subscriptions({ settings, clientId, store, log, metrics })
  const connection = await dialer.dial({ publish: (message) => intake.take(message) }, signal, { clientId })
  intake.attach({
    sessionPresent: connection.sessionPresent,
    ignoresRetained: false,
    acknowledge: (packetId, qos, reason) => connection.acknowledge(packetId, qos, reason),
    pause: () => connection.pause(),
    resume: () => connection.resume(),
  })
  try {
    await leaveSession({ connection, intake, subscriptions, dialer, signal })
    return intake.arrivals
  } catch (error) {
    intake.stop()
    await Promise.race([intake.idle(), connection.closed, sleep(farewellMs)])
    await connection.disconnect({ withinMs: farewellMs })
    throw error
  } finally {
    intake.close()
    connection.destroy()
  }
}
