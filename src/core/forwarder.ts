import type { z } from 'zod'
import type { Credential, CredentialDefinition } from './credential.ts'
import type { Log } from './log.ts'
import type { Properties, Qos } from './message.ts'
import type { Outcome } from './outcome.ts'

/** One message as a forwarder gets it. */
export interface Item<With = Readonly<Record<string, unknown>>> {
  /** The message's id. */
  readonly id: string
  /**
   * `<id>:<rule>:<action>`: what the far side may deduplicate by. The same through retries, crashes and replays, and where the
   * publisher gave an id of its own, each time it sends the message; that id stands there behind its principal.
   */
  readonly key: string
  /** What goes out: what `select` made, or the payload as it came. */
  readonly payload: Buffer
  /** True where `select` made the payload: it is JSON then. */
  readonly selected: boolean
  readonly topic: string
  readonly qos: Qos
  readonly retain: boolean
  readonly properties?: Properties
  readonly rule: string
  readonly principal: string
  readonly thing?: string
  readonly clientId?: string
  /** When the message was accepted, in milliseconds since 1970. */
  readonly at: number
  /** The rendered options of the rule's action, over the worker's defaults. */
  readonly with: With
}

/** An opened forwarder. It says what happened; it never retries, sleeps or drops: delivery/ decides. */
export interface Forwarder<With = Readonly<Record<string, unknown>>> {
  /**
   * One attempt for a batch within the definition's limits. Answers one outcome per item, in order; says with `together`
   * which of them one answer refused as a whole. Throws only on a defect (delivery/ takes that as `retry`, not answered). Ends soon
   * after `signal` aborts. A batch that takes several requests calls `arrived` with the place of each item that the far side has,
   * while the others are still under way: what is known then need not be sent again should the process die.
   */
  send(
    batch: readonly Item<With>[],
    signal: AbortSignal,
    arrived?: (place: number) => void,
  ): Promise<readonly Outcome[]>
  /** Proves that the far side can be reached and would take messages, without sending one. Throws with the reason if not. */
  check?(signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

export interface ForwarderContext {
  /** Absent where the worker has none. */
  readonly credential?: Credential
  /** The worker's name. */
  readonly worker: string
  readonly signal: AbortSignal
  readonly log: Log
}

/** A kind of worker: one file in forwarders/, one line in its index. */
export interface ForwarderDefinition<
  Settings extends z.ZodObject = z.ZodObject,
  With extends z.ZodObject = z.ZodObject,
> {
  readonly kind: string
  readonly summary: string
  /** Credential types it takes; empty: none. */
  readonly credentials: readonly string[]
  /** Whether a worker of this kind must have a credential. */
  readonly credentialRequired?: boolean
  /** Per worker, at the top level of its file; never templated. A strict object. */
  readonly settings: Settings
  /** Per rule action (`with:`, defaults in the worker's). A strict object; strings may hold `${ … }`, rendered by ingest. */
  readonly with: With
  /** How delivery/ cuts a batch for it: at most so many messages and so many payload bytes. */
  readonly limits: { readonly messages: number; readonly bytes: number }
  /** What zod cannot see: problems that need several settings at once, each with the dotted path it belongs to. */
  examine?(settings: z.output<Settings>): readonly { readonly path: string; readonly message: string }[]
  /** Opens without touching the far side where it can: a far side that is away at start is a `retry`, not a failed start. */
  open(settings: z.output<Settings>, context: ForwarderContext): Promise<Forwarder<z.output<With>>>
}

/** Gives a definition its types; adds nothing. */
export function defineForwarder<Settings extends z.ZodObject, With extends z.ZodObject>(
  definition: ForwarderDefinition<Settings, With>,
): ForwarderDefinition<Settings, With> {
  return definition
}

/** Any definition, as registries and delivery/ hold them. */
// oxlint-disable-next-line typescript/no-explicit-any -- variance: `open` takes its own settings
export type AnyForwarderDefinition = ForwarderDefinition<any, any>
// oxlint-disable-next-line typescript/no-explicit-any -- variance: `open` takes its own settings
export type AnyCredentialDefinition = CredentialDefinition<any>
