import type { z } from 'zod'
import type { Log } from './log.ts'

export interface AwsKeys {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
  readonly expiration?: Date
}

/** An opened credential, by what it can be used for. */
export type Credential =
  | { readonly use: 'aws'; keys(): Promise<AwsKeys> }
  | { readonly use: 'http'; headers(): Promise<Readonly<Record<string, string>>> }
  | {
      readonly use: 'mqtt'
      readonly username?: string
      readonly password?: string
      readonly certificate?: string
      readonly key?: string
    }

/** A way to authorize oneself at a far side: one file in credentials/, one line in its index. */
export interface CredentialDefinition<Settings extends z.ZodObject = z.ZodObject> {
  readonly type: string
  readonly summary: string
  /** What stands beside `type:` in a worker's `credential:`. */
  readonly settings: Settings
  /** Throws SluiceError CREDENTIAL_FAILED with a sentence that names no secret. */
  open(settings: z.output<Settings>, context: CredentialContext): Promise<Credential>
}

export interface CredentialContext {
  readonly log: Log
  /** Ends the opening; what a credential obtains later is bounded by itself. */
  readonly signal: AbortSignal
  /** The worker it is opened for; names the session where the far side keeps a log of who acted. */
  readonly worker?: string
}

/** Gives a definition its types; adds nothing. */
export function defineCredential<Settings extends z.ZodObject>(
  definition: CredentialDefinition<Settings>,
): CredentialDefinition<Settings> {
  return definition
}
