/**
 * Whose queues they are. A worker's name has no colon; it has work, failures and dead letters. What begins with one of these is
 * no worker: a rule that failed, or a bridge whose message was refused, owns dead letters and nothing else, and ingest writes them itself.
 */
const prefixes = { rule: 'rule:', bridge: 'bridge:' } as const

export type OwnerKind = 'worker' | keyof typeof prefixes

/** The owner that a rule or a bridge is. That of a bridge is its principal's name, too. */
export function ownerOf(kind: keyof typeof prefixes, name: string): string {
  return prefixes[kind] + name
}

export function kindOfOwner(owner: string): OwnerKind {
  if (owner.startsWith(prefixes.rule)) return 'rule'
  return owner.startsWith(prefixes.bridge) ? 'bridge' : 'worker'
}
