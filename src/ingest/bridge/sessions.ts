import type { Log } from '../../core/log.ts'
import type { Store, Table } from '../../core/queue.ts'
import { filtersKey } from './client-id.ts'
import { slotIds } from './slots.ts'

/** A client id under which a bridge has, or may have, a session at its broker. */
export interface KnownSession {
  readonly bridge: string
  readonly clientId: string
}

/**
 * Under which client ids bridges have sessions. A session outlives the settings that made its client id, and holds messages that were
 * acknowledged to their publishers: whoever comes next must be able to find it.
 */
export function sessionsOf(store: Store) {
  const table = store.table('bridge-sessions')
  return {
    /** To be called before the first connect under a client id. */
    async remember(session: KnownSession): Promise<void> {
      const known = await all(table)
      if (!known.some((other) => keyOf(other) === keyOf(session))) await table.put(keyOf(session), session)
    },
    async forget(session: KnownSession): Promise<void> {
      await table.put(keyOf(session), undefined)
    },
    /** Of all bridges that this store has seen. */
    all: () => all(table),
    /** The client ids of a bridge; those of slots are there whether they were remembered or not, as earlier versions didn't. */
    async clientIds(bridge: string): Promise<readonly string[]> {
      const known = (await all(table)).filter((session) => session.bridge === bridge)
      return [...new Set([...known.map(({ clientId }) => clientId), ...(await slotIds(store, bridge))])]
    },
  }
}

function keyOf({ bridge, clientId }: KnownSession): string {
  return `${bridge}/${clientId}`
}

async function all(table: Table): Promise<readonly KnownSession[]> {
  const found = new Map<string, KnownSession>()
  for (let version = 0; ;) {
    const changes = await table.since<KnownSession>(version)
    const last = changes.at(-1)
    if (last === undefined) return [...found.values()]
    version = last.version
    for (const { key, value } of changes) {
      if (typeof value?.bridge === 'string' && typeof value.clientId === 'string') found.set(key, value)
      else found.delete(key)
    }
  }
}

/** Says of bridges that have left the configuration what they have left at their broker: nobody takes it. */
export async function nameSessionsLeft(store: Store, bridges: readonly string[], log: Log): Promise<void> {
  for (const { bridge, clientId } of await sessionsOf(store).all()) {
    if (bridges.includes(bridge) || (await store.get(filtersKey(clientId))) === undefined) continue
    const message =
      'a bridge that is not in sluice.yaml any more has a session at its broker, which goes on to hold messages'
    log.warn({ bridge, clientId }, `${message}; add it again, or remove the session there`)
  }
}
