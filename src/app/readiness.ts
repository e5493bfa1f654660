import { SluiceError } from '../core/errors.ts'
import type { Queues } from '../core/queue.ts'

export interface Readiness {
  readonly ready: boolean
  readonly because?: string
}

/** An answer serves everybody who asks within this time: health checks must not become load. */
const freshMs = 250

/** Whether a publish would be acknowledged now: the queue takes adds. (Rules and identities are loaded before doors open.) */
export function createReadiness(queues: Queues): () => Promise<Readiness> {
  let asked = -Infinity
  let answer: Promise<Readiness> = Promise.resolve({ ready: false })
  return () => {
    const now = performance.now()
    if (now - asked < freshMs) return answer
    asked = now
    answer = queues.ping().then(
      () => ({ ready: true }),
      (error: unknown) => ({
        ready: false,
        because: error instanceof SluiceError ? error.message : 'the queue does not answer',
      }),
    )
    return answer
  }
}
