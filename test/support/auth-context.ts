import type { Log } from '../../src/core/log.ts'
import type { AuthMethodContext } from '../../src/identity/method.ts'
import { noRecords } from '../../src/identity/records.ts'
import type { Registry } from '../../src/identity/registry.ts'

export interface TestAuthContext extends AuthMethodContext {
  /** Events that were announced. */
  readonly announced: { readonly topic: string; readonly payload: unknown }[]
  /** Keys that were asked for once. */
  readonly seen: Set<string>
}

/** What a method is opened with, over a registry: a store in memory, nothing announced anywhere. */
export function authContext(
  registry: Registry,
  more: Partial<AuthMethodContext> & { readonly log?: Log } = {},
): TestAuthContext {
  const announced: TestAuthContext['announced'] = []
  const seen = new Set<string>()
  const kept = new Map<string, unknown>()
  const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, with: () => silent }
  return {
    registry,
    records: noRecords,
    place: { region: 'eu-west-1', account: '123456789012' },
    async once(key) {
      if (seen.has(key)) return false
      seen.add(key)
      return true
    },
    keep<Kept>(key: string, make: () => Kept) {
      if (!kept.has(key)) kept.set(key, make())
      return kept.get(key) as Kept
    },
    examinePolicyDocument: () => [],
    announce: (topic, payload) => void announced.push({ topic, payload }),
    log: silent,
    metrics: { count() {}, set() {} },
    now: Date.now,
    announced,
    seen,
    ...more,
  }
}
