import type { z } from 'zod'
import type { Presented, Verdict } from '../core/access.ts'
import type { Log } from '../core/log.ts'
import type { Registry } from './registry.ts'

/** Judges what a door has seen. Never throws for anything that was presented, however malformed. */
export type Authenticate = (presented: Presented) => Promise<Verdict>

export interface AuthMethodContext {
  /** The snapshot to look identities up in. A reload opens every method again on a new one. */
  readonly registry: Registry
  readonly log: Log
}

/**
 * A way to prove a principal: one file in identity/, one line in its index. What every method owes (the suite in
 * test/conformance/auth-method.ts asks for it):
 * - It looks at its own part of `Presented`; where there is nothing of it, the verdict is `absent`.
 * - What was shown and is wrong is `refused`, and no later method is asked.
 * - An unknown principal and a wrong proof take the same path and get the same answer.
 * - Nothing that was presented as a proof stands in a verdict, a log line or an error.
 */
export interface AuthMethod<Proof extends z.ZodType = z.ZodType> {
  /** Its name, and the key under a principal's entry in identity/ where its proof stands. */
  readonly type: string
  readonly summary: string
  /** What stands under that key. */
  readonly proof: Proof
  open(context: AuthMethodContext): Authenticate
}

/** Gives a method its types; adds nothing. */
export function defineAuthMethod<Proof extends z.ZodType>(method: AuthMethod<Proof>): AuthMethod<Proof> {
  return method
}
