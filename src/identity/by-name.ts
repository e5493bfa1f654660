import type { Presented } from '../core/access.ts'
import type { Registry } from './registry.ts'

/**
 * Two methods take a user name and a password: `token` and `password`. A stranger must not learn from them which names there are,
 * or which of the two a name has. So `token` lets those in whom it knows and leaves everybody else to `password`, as soon as
 * anybody has a password: it answers all of them alike, after as much work for one name as for another.
 */
export function leavesToPassword(registry: Registry): boolean {
  return registry.uses('password')
}

/**
 * Whether a name that no principal has by token or password is a default authorizer's to judge. A name that one has is not: what
 * was shown and is wrong goes to no later method.
 */
export function leavesToAuthorizer(registry: Registry, { tls }: Presented, name: string | undefined): boolean {
  if (!registry.hasDefaultAuthorizer && tls?.authorizer?.default === undefined) return false
  const proofs = name === undefined ? undefined : registry.principal(name)?.proofs
  return proofs?.['token'] === undefined && proofs?.['password'] === undefined
}
