import type { Failure } from './envelope.ts'
import type { Delivery, Message } from './message.ts'
import type { Position } from './problem.ts'

/** The name under which messages that no rule took go to the workers of `unmatched`; no file can give it to a rule. */
export const unmatchedRule = '$unmatched'

/** A rule as its file says it, checked but not compiled. */
export interface RuleDefinition {
  readonly name: string
  readonly position: Position
  readonly from: readonly string[]
  readonly where?: string
  readonly select?: string
  readonly to: readonly ActionDefinition[]
  readonly onError: readonly ErrorActionDefinition[]
  readonly tests: readonly RuleTest[]
}

export interface ActionDefinition {
  readonly worker: string
  /** Strings may hold `${ … }` templates. */
  readonly with?: Readonly<Record<string, unknown>>
}

export interface ErrorActionDefinition extends ActionDefinition {
  /** What it is for; `[delivery]` by default. */
  readonly on: readonly ('delivery' | 'evaluation')[]
}

/** A test written in a rule file. */
export interface RuleTest {
  readonly name: string
  readonly position: Position
  readonly given: {
    readonly topic: string
    /** A JSON value, sent as its JSON text. */
    readonly payload?: unknown
    /** Text sent as it is. */
    readonly payloadText?: string
    readonly payloadBase64?: string
    readonly clientId?: string
    readonly principal?: string
    readonly thing?: string
    readonly qos?: 0 | 1 | 2
    readonly retain?: boolean
    readonly properties?: Readonly<Record<string, unknown>>
  }
  /** What is left out is not looked at. */
  readonly expect: {
    /** False: the rule doesn't take the message. */
    readonly match?: boolean
    /** What `select` makes; `{ $any: number | string | boolean | object | array }` stands for any value of that type. */
    readonly select?: unknown
    /** The workers it goes to, in order. */
    readonly to?: readonly string[]
    /** Text that the evaluation error contains. */
    readonly error?: string
  }
}

/** What one rule made of a message. */
export type RuleOutcome =
  | { readonly kind: 'deliveries'; readonly rule: string; readonly deliveries: readonly Delivery[] }
  | { readonly kind: 'unmatched'; readonly rule: string } // the topic matched and `where` did not hold
  | { readonly kind: 'empty'; readonly rule: string } // `select` was undefined
  | { readonly kind: 'failed'; readonly rule: string; readonly reason: string; readonly onError: readonly Delivery[] }

/** The compiled rules: immutable, replaced whole on reload. */
export interface RuleSet {
  /** Short hash of all definitions; names the set in envelopes and logs. */
  readonly hash: string
  readonly rules: readonly RuleDefinition[]
  /**
   * One outcome per rule whose topic filters match, in the order of the rules; that of the one rule that the message names where
   * it names one, whatever the filters. Empty: nothing matched, or there is no such rule. Never throws.
   */
  evaluate(message: Message): Promise<readonly RuleOutcome[]>
  /** What becomes of a message that no rule took; undefined where nothing does. Never throws. */
  unmatched(message: Message): Promise<RuleOutcome | undefined>
  /**
   * The error actions of a rule for a failure that came back from a worker, rendered: one delivery each, carrying AWS IoT's
   * error document (aws-rules §E). Empty where there is none for it, or the rule is gone.
   */
  errorActions(failure: Failure): Promise<readonly Delivery[]>
}
