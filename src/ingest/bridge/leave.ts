import type { Connection } from '../../mqtt/connection.ts'
import type { Dialer } from '../../mqtt/dial.ts'
import type { Intake } from './intake.ts'
import type { Subscriptions } from './subscriptions.ts'

const cleanTimeoutMs = 10_000

/**
 * Ends the session at the broker. A session that is ended takes its messages along, though their publishers were acknowledged
 * (feasibility-doors §2): so first everything is unsubscribed, and what the session still has is taken and acknowledged.
 */
export async function leaveSession(
  connection: Connection,
  intake: Intake,
  subscriptions: Subscriptions,
  dialer: Dialer,
): Promise<void> {
  await subscriptions.leave(connection)
  for (;;) {
    const before = intake.arrivals
    await intake.idle()
    // The broker answers behind everything that our acknowledgements let it send.
    await connection.ping()
    if (intake.arrivals === before && intake.inHand === 0) break
  }
  await connection.disconnect({ sessionExpirySeconds: 0 })
  if (connection.version === 5) return
  // 3.1.1 ends a session by beginning a clean one [MQTT-3.1.2-6].
  const fields = { clientId: connection.clientId, clean: true }
  const clean = await dialer.dial({}, AbortSignal.timeout(cleanTimeoutMs), fields)
  await clean.disconnect()
}
