import type { AwsKeys } from '../core/credential.ts'
import type { Log } from '../core/log.ts'
import { saidBy } from './said-by.ts'

export type TemporaryKeys = AwsKeys & { readonly expiration: Date }

export interface RefreshedKeysOptions {
  readonly obtain: () => Promise<TemporaryKeys>
  readonly log: Log
  readonly now?: () => number
}

/**
 * How long before their end new keys are asked for. Five minutes is also when the AWS SDK begins to ask us each time, and
 * AWS's shortest session is fifteen.
 */
const earlyMs = 300_000

/** Keys this close to their end are not used: a request takes time, and clocks differ. */
const unusableMs = 15_000

/** Least time between two early attempts, so that an STS that is away is not asked with every batch. */
const patienceMs = 10_000

/**
 * Temporary keys that are kept and renewed early, behind the back of whoever asks: nobody waits while the old ones hold,
 * and a failed renewal costs nothing until they end. One request at a time. Throws what `obtain` throws.
 */
export function refreshKeys({ obtain, log, now = Date.now }: RefreshedKeysOptions): () => Promise<TemporaryKeys> {
  let current: TemporaryKeys | undefined
  let pending: Promise<TemporaryKeys> | undefined
  let notBefore = 0

  const refresh = () => {
    pending ??= obtain()
      .then((keys) => (current = keys))
      .finally(() => (pending = undefined))
    return pending
  }

  return async () => {
    const left = current === undefined ? 0 : current.expiration.getTime() - now()
    if (current === undefined || left <= unusableMs) return refresh()
    if (left > earlyMs || now() < notBefore) return current
    notBefore = now() + patienceMs
    refresh().catch((error: unknown) => {
      log.warn({ error: saidBy(error), leftMs: left }, 'temporary keys could not be renewed; the old ones still hold')
    })
    return current
  }
}
