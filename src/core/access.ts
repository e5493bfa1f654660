import type { CertificateFacts } from './certificate.ts'
import type { Qos, Properties } from './message.ts'

/** How a client speaks to us; part of every policy decision (aws-security §2). */
export type Protocol = 'mqtt' | 'mqtt-ws' | 'http'

/** What a TLS handshake has shown. */
export interface TlsFacts {
  /** The SNI host name in lower case (iot:DomainName). */
  readonly serverName?: string
  readonly alpn?: string
  /** DER of the client's certificate. The handshake has proved its private key, and nothing else: identity/ judges it. */
  readonly certificate?: Buffer
  /** DER of the further certificates that the client sent, as they came. */
  readonly chain?: readonly Buffer[]
  /** What the server name says about custom authorizers (AWS: a domain configuration's authorizerConfig). */
  readonly authorizer?: { readonly default?: string; readonly allowOverride: boolean }
}

/** An HTTP request: one to the HTTP door, or the upgrade to a WebSocket. */
export interface HttpFacts {
  readonly method: string
  /** As it was sent, percent-encoding and all, without the query. */
  readonly path: string
  /** As it was sent, without the `?`; empty where there was none. */
  readonly query: string
  /** Names in lower case; several lines of one name joined by `, `. */
  readonly headers: Readonly<Record<string, string>>
  /** Something that is the same for all requests of one connection, to remember things by. */
  readonly connection?: object
  /**
   * Reads the whole body, at most the door's limit; may be called again. Rejects where it is too large or breaks off: let
   * that through. Only for a method whose proof covers the body: call it after everything else has been checked.
   */
  readonly body?: () => Promise<Buffer>
}

/**
 * What a door has seen of somebody who wants in. A method looks at its own part and at nothing else.
 *
 * A WebSocket is asked about twice: at its upgrade, with `http` and without `clientId`; and, where nothing was shown then, at
 * CONNECT with `http`, `clientId` and what CONNECT holds.
 */
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
  readonly tls?: TlsFacts
  readonly http?: HttpFacts
}

/** The proven identity that acts. */
export interface Principal {
  readonly name: string
  /** The auth method that proved it. */
  readonly method: string
  /** AWS's principalIdentifier, in events and logs: a certificate's SHA-256 fingerprint, for example. Absent: the name. */
  readonly id?: string
  /** The thing it is attached to. */
  readonly thing?: string
  /** Patterns (`*`, `?`) of thing names it may speak for. Absent: none but its own. */
  readonly actsFor?: readonly string[]
  /** Whether messages on behalf of a thing need that thing's own policies too (default), or the topic alone decides. */
  readonly trust?: 'policies' | 'topics'
  /** What becomes of a message on behalf of a thing that is not registered; `refuse` by default. */
  readonly unknownThings?: 'refuse' | 'allow'
  /** Names of policies of identity/ that its proof attaches, beside those of its entry and its thing. */
  readonly policies?: readonly string[]
  /** Names of groups whose policies apply to it as if its thing were in them. */
  readonly groups?: readonly string[]
  /** Policy documents that came with the proof, beside all others. */
  readonly documents?: readonly unknown[]
  /**
   * An identity of an identity pool (aws-security §6): `authenticated` needs that the role's policies and its own both allow,
   * `unauthenticated` has the role's alone. `role` names policies of identity/.
   */
  readonly pool?: {
    readonly kind: 'authenticated' | 'unauthenticated'
    readonly identityId: string
    readonly role: readonly string[]
  }
  /** What its certificate says, for policy variables. */
  readonly certificate?: CertificateFacts
  /** When a connection of it ends, in milliseconds since 1970. */
  readonly until?: number
  /** When a connection has to be asked about again (`renew`), in milliseconds since 1970. */
  readonly renewAt?: number
}

/** What an auth method says. `absent`: nothing for me, ask the next; `refused`: shown and wrong, stop here. */
export type Verdict =
  | { readonly kind: 'principal'; readonly principal: Principal }
  | { readonly kind: 'absent' }
  | {
      readonly kind: 'refused'
      readonly reason: string
      /** Too many have failed before: nothing was looked at, and won't be for so long. */
      readonly afterMs?: number
    }

/** An authenticated connection or request: who speaks, and what policies may ask about it. */
export interface Speaker {
  readonly principal: Principal
  readonly protocol: Protocol
  readonly clientId?: string
  readonly sourceIp?: string
  /** The host name that it connected to (iot:DomainName). */
  readonly serverName?: string
  /** MQTT only: `PersistentConnect`, `LastWill` (iot:ConnectAttributes). */
  readonly connectAttributes?: readonly string[]
  /** Topic of the last will, where there is one (iot:LastWillTopic). */
  readonly lastWillTopic?: string
}

/** The actions of the data plane that a door asks about. */
export type DataAction = 'iot:Connect' | 'iot:Publish' | 'iot:RetainPublish' | 'iot:Subscribe' | 'iot:Receive'

/**
 * `because` is for our log and never for the client: it names the statement, or says that none allowed. `by` is the same for metrics:
 * `<policy>/<number of the statement>`, `none` or `reserved`. `reserved`: a `$` topic that is closed to clients whatever their policies.
 */
export type Decision =
  | { readonly allow: true }
  | { readonly allow: false; readonly because: string; readonly by: string; readonly reserved?: true }

/** What the doors know of identities and policies. app/ builds it from identity/ and policy/; it changes whole on reload. */
export interface Access {
  authenticate(presented: Presented): Promise<Verdict>
  /**
   * Whether somebody who was let in may stay, and as what: asked after identities have changed and when `renewAt` has come. Tries
   * no proof that is good only once.
   */
  renew(presented: Presented, principal: Principal): Promise<Verdict>
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
  /** The publisher's own id, as it came; it means something together with who published it only. */
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
  | 'reserved' // a `$` topic that clients may not publish to, or that nothing here answers
  | 'rule-not-found' // Basic Ingest for a rule that there is not
  | 'speaking-for' // named a thing it may not speak for
  | 'thing-policy' // the thing's own policies don't allow it
  | 'unknown-thing'
  | 'retained' // there is no room to keep it

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
      readonly status: 400 | 403 | 404 | 413 | 507
      readonly reason: RefusalReason
      readonly message: string
      /** In more words, for our log and for operators, and never for the client. Absent: there is no more to say. */
      readonly because?: string
    }
  | {
      readonly kind: 'later'
      readonly id: string
      readonly status: 429 | 503
      readonly afterMs: number
      readonly message: string
    }

export type NotAccepted = Exclude<Accepted, { readonly kind: 'accepted' }>

/** What became of messages that came together: an answer for each, or one for all, and then none of them is in. */
export type AcceptedBatch =
  | { readonly kind: 'each'; readonly answers: readonly Accepted[] }
  | { readonly kind: 'whole'; readonly answer: NotAccepted }

/** As `Accept` for the messages of one request, in their order: limits and room are asked for once for all of them. */
export type AcceptBatch = (speaker: Speaker, publishes: readonly Publish[]) => Promise<AcceptedBatch>

/**
 * The one way in behind all doors; ingest/accept.ts makes it. Resolves when the message is durable or will not be taken; never throws.
 * `id`: Sluice's own, where the message has one from before, because it was refused then and is handed in again.
 */
export type Accept = (speaker: Speaker, publish: Publish, id?: string) => Promise<Accepted>
