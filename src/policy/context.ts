import type { CertificateFacts } from '../core/certificate.ts'

/** What somebody wants to do. Sluice's doors build `resource` with `arn.ts`; the raw names are for people who read a request. */
export interface PolicyRequest {
  /** `iot:Publish` and so on; case doesn't matter, as in IAM. */
  readonly action: string
  /** The ready ARN, or `*` for the few actions that have no resource. */
  readonly resource: string
  /** On `iot:Publish`: the RETAIN flag is set, so `iot:RetainPublish` must be allowed as well (aws-security §7.2). */
  readonly retain?: boolean
  readonly clientId?: string
  readonly topic?: string
  readonly topicFilter?: string
  readonly thingName?: string
  readonly roleAlias?: string
}

/** What is known about who asks, and from where. What is absent has no value: a variable or condition key that needs it is missing. */
export interface PolicyContext {
  readonly region?: string
  readonly accountId?: string
  /** Client variables have values over MQTT only, thing variables too unless `exclusiveThing`. */
  readonly protocol?: 'mqtt' | 'mqtt-ws' | 'http'
  /** `cognito-authenticated` and `cognito-unauthenticated` change which documents count; all other types are alike. */
  readonly principal?: { readonly type: string; readonly identityId?: string }
  readonly clientId?: string
  /** A thing that is registered; its variables have values only where it is attached and the client id is its name. */
  readonly thingName?: string
  readonly thingType?: string
  readonly thingAttributes?: Readonly<Record<string, string>>
  readonly isAttached?: boolean
  /**
   * The principal belongs to this thing alone (EXCLUSIVE_THING): the thing is known by it, whatever the client id is. Sluice
   * sets it over HTTP too, where AWS has no thing variables at all.
   */
  readonly exclusiveThing?: boolean
  readonly certificate?: CertificateFacts
  /** `PersistentConnect`, `LastWill`. */
  readonly connectAttributes?: readonly string[]
  /** The plain topic of the last will. */
  readonly lastWillTopic?: string
  readonly sourceIp?: string
  readonly sourceVpc?: string
  readonly sourceVpce?: string
  readonly domainName?: string
  /** Milliseconds since 1970; the caller's clock, because a decision has none of its own. */
  readonly currentTime?: number
  /** The IAM role's documents of a Cognito identity (aws-security §6). */
  readonly rolePolicies?: readonly unknown[]
}

export interface PolicyDecision {
  readonly decision: 'allow' | 'deny'
  /** A Deny matched (or a document is malformed, which counts as one). False with `deny`: nothing allowed it. */
  readonly explicit: boolean
  /**
   * The statement that decided, both counted from 0; absent where none did. Documents of the role are counted on after the
   * others.
   */
  readonly statement?: { readonly document: number; readonly statement: number }
}
