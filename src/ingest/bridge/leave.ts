import type { Connection } from '../../mqtt/connection.ts'
import type { Dialer } from '../../mqtt/dial.ts'
import type { Intake } from './intake.ts'
import type { Subscriptions } from './subscriptions.ts'

const cleanTimeoutMs = 10_000

/** A session that is to end, and what is connected with it. */
export interface Leaving {
  readonly connection: Connection
  readonly intake: Intake
  readonly subscriptions: Subscriptions
  readonly dialer: Dialer
  /** Aborted: the session is left as it is, for the next start to go on with. */
  readonly signal: AbortSignal
}

/**
 * Ends the session at the broker. A session that is ended takes its messages along, though their publishers were acknowledged
 * (feasibility-doors §2): so first everything is unsubscribed, and what the session still has is taken and acknowledged. Until it
 * has ended, the store knows of it. Throws what `signal` was aborted with, or when the connection ends before.
 */
export async function leaveSession(leaving: Leaving): Promise<void> {
  const { signal } = leaving
  const aborted = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
  const ended = endSession(leaving)
  ended.catch(() => {})
  await Promise.race([ended, aborted])
}

async function endSession({ connection, intake, subscriptions, dialer, signal }: Leaving): Promise<void> {
  await subscriptions.unsubscribeAll(connection)
  for (;;) {
    const before = intake.arrivals
    await intake.idle()
    // The broker answers behind everything that our acknowledgements let it send.
    await connection.ping()
    // INVARIANT: nothing is awaited between this look and the end of the session. Where reading has stopped, "nothing has come" says nothing.
    signal.throwIfAborted()
    if (intake.arrivals === before && intake.inHand === 0) break
  }
  await connection.disconnect({ sessionExpirySeconds: 0, withinMs: cleanTimeoutMs })
  if (connection.version !== 5) {
    // 3.1.1 ends a session by beginning a clean one [MQTT-3.1.2-6].
    const fields = { clientId: connection.clientId, clean: true }
    const clean = await dialer.dial({}, AbortSignal.any([signal, AbortSignal.timeout(cleanTimeoutMs)]), fields)
    await clean.disconnect()
  }
  await subscriptions.forget()
}
