import type { Access } from '../core/access.ts'
import { createAuthentication } from '../identity/authenticate.ts'
import { authMethods } from '../identity/index.ts'
import type { AuthMethodContext } from '../identity/method.ts'
import type { Registry } from '../identity/registry.ts'
import { createDecisions, type DecisionsOptions } from './decisions.ts'

export interface AccessOptions extends Omit<DecisionsOptions, 'records' | 'now'> {
  /** What auth methods need beside the identities. */
  readonly auth: Omit<AuthMethodContext, 'registry' | 'place' | 'metrics'>
}

/** Access, and who there is behind it. */
export interface Identities extends Access {
  readonly registry: Registry
}

/** Identities and policies, wired: an immutable snapshot of one load of identity/, beside the records that change under it. */
export function createAccess({ auth, ...options }: AccessOptions): Identities {
  const { arn, metrics } = options
  const decisions = createDecisions({ ...options, records: auth.records, now: auth.now })
  const { registry } = decisions
  const { authenticate, renew } = createAuthentication(authMethods, { ...auth, registry, place: arn, metrics })
  return { ...decisions, authenticate, renew }
}
