import { randomUUID } from 'node:crypto'
import type { Log } from '../core/log.ts'
import type { Store } from '../core/queue.ts'
import type { Records } from '../identity/records.ts'
import { examinePolicyDocument } from '../policy/examine.ts'
import type { AccessOptions } from './access.ts'
import { KeptThings } from './kept-things.ts'

export interface AuthSupportOptions {
  readonly store: Store
  readonly records: Records
  readonly announce: (topic: string, payload: unknown) => void
  readonly log: Log
}

/** What auth methods need beside the identities, and what of it outlives a reload. */
export interface AuthSupport {
  /** For a new snapshot; `inForce` is called when it is the one that counts. */
  next(): {
    readonly identities: Pick<AccessOptions, 'auth' | 'recordsVersion'>
    readonly inForce: () => void
  }
  close(): void
}

export function createAuthSupport({ store, records, announce, log }: AuthSupportOptions): AuthSupport {
  const things = new KeptThings()
  let version = 0
  const stop = records.onChange(() => (version += 1))
  // A lease is taken once: by whoever asks first, and each question is a holder of its own.
  const once = (key: string, ms: number): Promise<boolean> => store.lease(`once:${key}`, randomUUID(), ms)
  return {
    next() {
      const { keep, inForce } = things.next()
      const auth = { records, once, keep, announce, examinePolicyDocument, log, now: Date.now }
      return { identities: { auth, recordsVersion: () => version }, inForce }
    },
    close() {
      stop()
      things.close()
    },
  }
}
