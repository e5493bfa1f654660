import { messageOf } from '../core/errors.ts'
import type { Queues } from '../core/queue.ts'

export interface Readiness {
  readonly ready: boolean
  readonly because?: string
}

/**
 * Whether a publish would be acknowledged now: the queue takes adds, and has room (`complainOfRoom`: why it has none). Rules and identities are loaded
 * before doors open; `isOpen` says whether they are. Those who ask at once share one question to the queue.
 */
export function createReadiness(
  queues: Pick<Queues, 'ping'>,
  isOpen: () => boolean = () => true,
  complainOfRoom: () => string | undefined = () => undefined,
): () => Promise<Readiness> {
  let asking: Promise<Readiness> | undefined
  return async () => {
    if (!isOpen()) return { ready: false, because: 'it is starting or stopping' }
    asking ??= ask().finally(() => (asking = undefined))
    return asking
  }

  async function ask(): Promise<Readiness> {
    try {
      await queues.ping()
      const because = complainOfRoom()
      return because === undefined ? { ready: true } : { ready: false, because }
    } catch (error) {
      return { ready: false, because: messageOf(error) }
    }
  }
}
