import { messageOf } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Store } from '../../core/queue.ts'

/** Where the store says that a client id is in use. */
export function inUseKey(clientId: string): string {
  return `bridge/${clientId}/in-use`
}

export interface InUse {
  /** Somebody else uses the client id now, and says so. */
  lapse(): void
  release(): Promise<void>
}

/**
 * Says in the store, as long as it isn't released, that an ingest uses this client id, so that no other takes its session for one that was
 * left behind. Everybody who uses the id holds the same lease: who may have it is decided elsewhere (ownership.ts).
 */
export function markInUse(store: Store, clientId: string, leaseMs: number, log: Log): InUse {
  const key = inUseKey(clientId)
  const renew = (): void => {
    void store.lease(key, clientId, leaseMs).catch((error: unknown) => {
      log.debug({ error: messageOf(error) }, 'the client id could not be marked as in use')
    })
  }
  renew()
  const renewal = setInterval(renew, leaseMs / 3)
  return {
    lapse: () => clearInterval(renewal),
    async release() {
      clearInterval(renewal)
      await store.release(key, clientId).catch(() => {})
    },
  }
}
