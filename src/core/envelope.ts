import type { Properties, Qos } from './message.ts'
import type { Tally } from './tally.ts'
import type { Wire } from './wire.ts'

/** The version that this code writes; it reads this one and the one before. */
export const envelopeVersion = 1

/** The batch of deliveries that one queue job carries. It is JSON: no class instances, no `undefined`, no `Buffer`. */
export interface Envelope {
  readonly v: number
  /** The hash of the rule set that made it. */
  readonly set: string
  readonly entries: readonly Entry[]
  /** How often this envelope was put back for a later try; sets the backoff. Absent: never. */
  readonly round?: number
  /** The one entry (its index) that is being tried alone, and how many processes died doing so. See delivery/. */
  readonly suspect?: { readonly index: number; readonly deaths: number }
  /** What has become of the entries that have left it, so that one write takes them out and counts them. Absent: none has. */
  readonly left?: Tally
}

/** One message on its way to one worker, for one action of one rule. */
export interface Entry {
  /** The message's id. */
  readonly id: string
  /** What its publisher calls it, behind who that is. Absent where it said nothing, and in what earlier versions wrote. */
  readonly publisherId?: string
  /** When the message was accepted, in milliseconds since 1970; its age is counted from here. */
  readonly at: number
  /** When it was replayed last; its age is counted from here then. Absent: never. */
  readonly since?: number
  /** Empty where the message was let in to none. */
  readonly rule: string
  readonly action: number
  readonly error?: true
  readonly topic: string
  /** It was published to its rule by name, whatever topics that takes. */
  readonly direct?: true
  readonly qos: Qos
  readonly retain?: true
  readonly properties?: Properties
  readonly principal: string
  readonly thing?: string
  readonly clientId?: string
  readonly sourceIp?: string
  /** The payload as it came; absent only where the worker says `keep: output`. */
  readonly in?: Wire
  /** What goes out, where `select` made something else. */
  readonly out?: Wire
  readonly with?: Readonly<Record<string, unknown>>
  /** Answers of the far side about this message so far. */
  readonly attempts: number
  /** What went wrong so far, oldest first; bounded by delivery/. */
  readonly errors?: readonly EntryError[]
  /** What the far side asked for about this message (Retry-After): not again until `ms` have passed since `at`. */
  readonly wish?: { readonly at: number; readonly ms: number }
}

export interface EntryError {
  readonly at: number
  readonly reason: string
}

/** Why a message will not be tried again by itself. */
export type FailureKind =
  | 'rejected' // the far side will never take this message
  | 'exhausted' // its attempts are spent
  | 'expired' // it is too old
  | 'crashed' // it kills the process that sends it
  | 'evaluation' // the rule itself failed on it
  | 'refused' // a bridge had acknowledged it, and it was not let in

/** What a worker puts on its own `failures` queue, and what a dead letter holds. */
export interface Failure {
  readonly v: number
  /** The worker that gave up; absent where the rule itself failed, and where none was reached. */
  readonly worker?: string
  readonly kind: FailureKind
  readonly reason: string
  /** When it was given up, in milliseconds since 1970. */
  readonly at: number
  readonly entry: Entry
}

/** The data of one job on a `failures` queue. */
export interface FailureBatch {
  readonly v: number
  readonly failures: readonly Failure[]
  /** What has become of those that have left it; absent: none has. */
  readonly left?: Tally
}

/**
 * What the far side gets for deduplication: the same through retries, crashes and replays, different for two actions.
 * Never derived from content. The one place where what a publisher chose is a key.
 */
export function deduplicationKey({
  id,
  publisherId = id,
  rule,
  action,
}: Pick<Entry, 'id' | 'publisherId' | 'rule' | 'action'>): string {
  return `${publisherId}:${rule}:${action}`
}
