import type { Presented, Principal, Verdict } from '../core/access.ts'
import type { IdentityShape, PartComplaint } from '../core/identity-part.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import type { Records } from './records.ts'
import type { Registry } from './registry.ts'

/** Judges what a door has seen. Never throws for anything that was presented, however malformed. */
export type Authenticate = (presented: Presented) => Promise<Verdict>

export interface AuthMethodContext {
  /** The snapshot to look identities up in. A reload opens every method again on a new one. */
  readonly registry: Registry
  /** What ingest has registered itself, in the queue's store: certificates and things of devices that came by themselves. */
  readonly records: Records
  /** What Sluice is called in ARNs; also what a SigV4 scope is checked against. */
  readonly place: { readonly region: string; readonly account: string }
  /**
   * Whether this is the first time in `ms` that any ingest asks for this key: for proofs that are good only once. Rejects when
   * the store is away; then refuse.
   */
  readonly once: (key: string, ms: number) => Promise<boolean>
  /**
   * A thing that outlives reloads: a cache of keys, a child process. The first call for a key makes it; what no method has asked
   * for in the newest snapshot is closed.
   */
  readonly keep: <Kept extends { close?: () => void }>(key: string, make: () => Kept) => Kept
  /** What is wrong with a policy document, for documents that come from elsewhere than a file. */
  readonly examinePolicyDocument: (document: unknown) => readonly PartComplaint[]
  /** Publishes an event of Sluice itself (`$aws/events/…`) to rules and subscribers. */
  readonly announce: (topic: string, payload: unknown) => void
  readonly log: Log
  readonly metrics: Metrics
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/** A method on one snapshot of the identities. */
export interface OpenedMethod {
  /** Answers at once where nothing of its own was shown: most methods are asked in vain, for every request. */
  readonly authenticate: (presented: Presented) => Verdict | Promise<Verdict>
  /**
   * Whether somebody whom this method let in may stay: looks at what it has of the principal now, and tries no proof that is good
   * only once. Left out: `authenticate` again.
   */
  readonly renew?: (presented: Presented, principal: Principal) => Promise<Verdict>
}

/**
 * A way to prove a principal: one file in identity/, one line in its index. What every method owes (the suite in
 * test/conformance/auth-method.ts asks for it):
 * - It looks at its own part of `Presented`; where there is nothing of it, the verdict is `absent`.
 * - What was shown and is wrong is `refused`, and no later method is asked.
 * - An unknown principal and a wrong proof take the same path and get the same answer.
 * - Nothing that was presented as a proof stands in a verdict, a log line or an error.
 */
export interface AuthMethod extends IdentityShape {
  open(context: AuthMethodContext): OpenedMethod
}

/** Gives a method its types; adds nothing. */
export function defineAuthMethod<const Method extends AuthMethod>(method: Method): Method {
  return method
}

/** The part of a principal that comes from its entry in identity/, whichever method proved it. */
export function principalFrom(
  entry: {
    readonly name: string
    readonly thing?: string
    readonly actsFor?: readonly string[]
    readonly trust?: 'policies' | 'topics'
    readonly unknownThings?: 'refuse' | 'allow'
  },
  method: string,
): Principal {
  return {
    name: entry.name,
    method,
    ...(entry.thing !== undefined && { thing: entry.thing }),
    ...(entry.actsFor !== undefined && { actsFor: entry.actsFor }),
    ...(entry.trust !== undefined && { trust: entry.trust }),
    ...(entry.unknownThings !== undefined && { unknownThings: entry.unknownThings }),
  }
}
