import type { Qos, Properties } from './message.ts'

/** How a client speaks to us; part of every policy decision (aws-security §2). */
export type Protocol = 'mqtt' | 'mqtt-ws' | 'http'

/** What a door has seen of somebody who wants in. A method looks at its own part and at nothing else. */
export interface Presented {
  readonly protocol: Protocol
  readonly clientId?: string
  /** MQTT user name. */
  readonly username?: string
  /** MQTT password. */
  readonly password?: Buffer
  /** What followed `Authorization: Bearer`. */
  readonly bearer?: string
  readonly sourceIp?: string
}

/** The proven identity that acts. */
export interface Principal {
  readonly name: string
  /** The auth method that proved it. */
  readonly method: string
  /** The thing it is attached to. */
  readonly thing?: string
  /** Patterns (`*`, `?`) of thing names it may speak for. Absent: none but its own. */
  readonly actsFor?: readonly string[]
  /** Whether messages on behalf of a thing need that thing's own policies too (default), or the topic alone decides. */
  readonly trust?: 'policies' | 'topics'
  /** What becomes of a message on behalf of a thing that is not registered; `refuse` by default. */
  readonly unknownThings?: 'refuse' | 'allow'
}

/** What an auth method says. `absent`: nothing for me, ask the next; `refused`: shown and wrong, stop here. */
export type Verdict =
  | { readonly kind: 'principal'; readonly principal: Principal }
  | { readonly kind: 'absent' }
  | { readonly kind: 'refused'; readonly reason: string }

/** An authenticated connection or request: who speaks, and what policies may ask about it. */
export interface Speaker {
  readonly principal: Principal
  readonly protocol: Protocol
  readonly clientId?: string
  readonly sourceIp?: string
  /** MQTT only: `PersistentConnect`, `LastWill` (iot:ConnectAttributes). */
  readonly connectAttributes?: readonly string[]
  /** Topic of the last will, where there is one (iot:LastWillTopic). */
  readonly lastWillTopic?: string
}

/** The actions of the data plane that a door asks about. */
export type DataAction = 'iot:Connect' | 'iot:Publish' | 'iot:RetainPublish' | 'iot:Subscribe' | 'iot:Receive'

/**
 * `because` is for our log and never for the client: it names the statement, or says that none allowed. `reserved`: a `$`
 * topic that is closed to clients whatever their policies.
 */
export type Decision =
  | { readonly allow: true }
  | { readonly allow: false; readonly because: string; readonly reserved?: true }

/** What the doors know of identities and policies. app/ builds it from identity/ and policy/; it changes whole on reload. */
export interface Access {
  authenticate(presented: Presented): Promise<Verdict>
  /** `name` is a client id, a topic name or a topic filter, as the action wants. */
  decide(speaker: Speaker, action: DataAction, name: string): Decision
  /** Whether the policies of a thing and its groups let it publish; the second of the two decisions for a message on its behalf. */
  decideForThing(thing: string, topic: string, retain: boolean): Decision
  knowsThing(thing: string): boolean
  /** Whether a principal may speak for a thing (or client id) of that name; its own thing always. */
  mayActFor(principal: Principal, thing: string): boolean
}

/** A message that a door hands in. */
export interface Publish {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
  readonly properties?: Properties
  /** The publisher's own id. */
  readonly id?: string
  /** The thing the speaker says it is from, where that isn't its own. */
  readonly thing?: string
  /** The client id it is said to be from, where that isn't the speaker's. */
  readonly clientId?: string
}

/** Why a message was refused, as metrics count it. */
export type RefusalReason =
  | 'topic' // not a valid topic name, or over a limit
  | 'size' // payload over the limit
  | 'request' // an id, property or field that is not valid
  | 'policy' // the speaker's policies don't allow it
  | 'reserved' // a `$` topic that clients may not publish to
  | 'speaking-for' // named a thing it may not speak for
  | 'thing-policy' // the thing's own policies don't allow it
  | 'unknown-thing'

/**
 * What became of a message at the door.
 * - `accepted`: durable. - `refused`: never, don't send it again (`status` is the HTTP status).
 * - `later`: not now, nothing was kept (429 over a limit of this principal, 503 the queue is away); what is in doubt is counted.
 */
export type Accepted =
  | { readonly kind: 'accepted'; readonly id: string }
  | {
      readonly kind: 'refused'
      readonly id: string
      readonly status: 400 | 403 | 413
      readonly reason: RefusalReason
      readonly message: string
    }
  | {
      readonly kind: 'later'
      readonly id: string
      readonly status: 429 | 503
      readonly afterMs: number
      readonly message: string
    }

/** The one way in behind all doors; ingest/accept.ts makes it. Resolves when the message is durable or will not be taken; never throws. */
export type Accept = (speaker: Speaker, publish: Publish) => Promise<Accepted>
