import { awsTopicLimits } from '../../core/topic.ts'

/** What the embedded broker takes from a client before it says no. Sizes in bytes, times in milliseconds. */
export interface BrokerLimits {
  /** Connections at once; each costs some kilobytes and a file descriptor. */
  readonly clients: number
  /** Connections that have not been authenticated yet: strangers can't take all the room. */
  readonly strangers: number
  /** From the connection to the CONNACK. */
  readonly connectMs: number
  /**
   * Any packet but PUBLISH, so also a CONNECT with its will, which is all that a stranger can make us hold. Room for the longest JWT, or the
   * longest token of a custom authorizer with its signature, beside a will. AWS IoT: 128 KiB.
   */
  readonly controlBytes: number
  /** A whole PUBLISH: payload and topic of AWS IoT's size with room for the header, so that accept can say what is too large. */
  readonly publishBytes: number
  /** Longest keep-alive; 0 asks for it too. AWS IoT: 1200 s. */
  readonly keepAliveMs: number
  /** Publishes of one client that wait for their acknowledgement; beyond it its socket is not read. */
  readonly inFlight: number
  /** Bytes of them. */
  readonly inFlightBytes: number
  /** Bytes of them over all clients. */
  readonly totalInFlightBytes: number
  /** QoS 0 messages of one client that are kept while the queue is away; further ones are dropped and counted. */
  readonly heldQos0: number
  /** CONNECTs of one client id a second, and how many at once: each is two events and a session. AWS IoT: 1. */
  readonly connectsPerSecond: number
  readonly connectBurst: number
  /** Subscriptions of one client. AWS IoT: 50. */
  readonly subscriptions: number
  /** Topic filters in one SUBSCRIBE. AWS IoT: 8. */
  readonly filters: number
  /** Of a topic filter, and of a last will's topic: UTF-8 bytes, and parts between slashes. AWS IoT: 256 and 8. */
  readonly topicBytes: number
  readonly topicLevels: number
  /** UTF-8 bytes of a client id. AWS IoT: 128. */
  readonly clientIdBytes: number
  /** Bytes waiting for a subscriber that doesn't read: QoS 0 is dropped from half of it on, at the whole it is cut off. */
  readonly outgoingBytes: number
  /** How long a subscriber may leave its socket full before it is cut off. */
  readonly stallMs: number
  /** Messages of QoS 1 and 2 that a client has yet to acknowledge; further ones wait in its session. AWS IoT: 100. */
  readonly unacknowledged: number
  /** Sessions that outlive their connection, and how many of them one principal may have. */
  readonly sessions: number
  readonly sessionsPerPrincipal: number
  /** How long a session outlives its connection. AWS IoT: 1 hour. */
  readonly sessionMs: number
  /** Messages kept for one session, and their bytes; the oldest go first. */
  readonly sessionMessages: number
  readonly sessionBytes: number
  /** Bytes kept for all sessions of one principal, and for all: beyond it the newest is not kept. */
  readonly sessionBytesPerPrincipal: number
  readonly totalSessionBytes: number
  /** Retained messages and their bytes, last wills that are to be retained among them; at the limit a new one is refused. */
  readonly retained: number
  readonly retainedBytes: number
  /** How much of that one principal may have. */
  readonly retainedPerPrincipal: number
  readonly retainedBytesPerPrincipal: number
  /** Last wills that wait for the queue. */
  readonly wills: number
  /** How long one of them waits. */
  readonly willMs: number
}

/** The limits where the config says nothing. */
export const defaultBrokerLimits: BrokerLimits = {
  clients: 10_000,
  strangers: 1_000,
  connectMs: 10_000,
  controlBytes: 16 * 1024,
  publishBytes: 132 * 1024,
  keepAliveMs: 1_200_000,
  inFlight: 1_000,
  inFlightBytes: 4 * 1024 ** 2,
  totalInFlightBytes: 256 * 1024 ** 2,
  heldQos0: 100,
  connectsPerSecond: 1,
  connectBurst: 20,
  subscriptions: 50,
  filters: 8,
  topicBytes: awsTopicLimits.bytes,
  topicLevels: awsTopicLimits.levels,
  clientIdBytes: 128,
  outgoingBytes: 4 * 1024 ** 2,
  stallMs: 10_000,
  unacknowledged: 10_000,
  sessions: 10_000,
  sessionsPerPrincipal: 100,
  sessionMs: 3_600_000,
  sessionMessages: 1_000,
  sessionBytes: 1024 ** 2,
  sessionBytesPerPrincipal: 32 * 1024 ** 2,
  totalSessionBytes: 256 * 1024 ** 2,
  retained: 20_000,
  retainedBytes: 64 * 1024 ** 2,
  retainedPerPrincipal: 1_000,
  retainedBytesPerPrincipal: 8 * 1024 ** 2,
  wills: 1_000,
  willMs: 600_000,
}
