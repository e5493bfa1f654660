import { newId } from '../../core/id.ts'
import type { Store } from '../../core/queue.ts'

/** Who connected last with a client id, as far as ingests on the same queue go. */
export interface Ownership {
  /**
   * Whether the client id is still ours; the first call takes it. False: another ingest has taken it since. A store that
   * is away leaves it to us, but for the first call, which throws.
   */
  isOurs(): Promise<boolean>
}

/**
 * Mosquitto (2.0.11) closes a connection that is taken over without a word, MQTT 5 or not, as it does when it is stopped. So an
 * ingest writes down that it connects, and one whose connection was closed looks there before it connects again. What is written
 * is ordered by time (UUIDv7), because a store can go back to what was written before ours: then it is still ours.
 */
export function createOwnership(store: Store, clientId: string): Ownership {
  const key = `bridge/${clientId}/owner`
  const own = newId()
  let taken = false
  return {
    async isOurs() {
      if (!taken) return take()
      const written = await store.get<unknown>(key).catch(() => own)
      if (written === own) return true
      if (typeof written === 'string' && written > own) return false
      return take()
    },
  }

  async function take(): Promise<true> {
    await store.set(key, own)
    taken = true
    return true
  }
}
