/** What the HTTP door takes from a client before it says no. Sizes in bytes, times in milliseconds. */
export interface HttpLimits {
  /** One message. AWS IoT: 128 KiB. */
  readonly payload: number
  /** Messages in one `POST /messages`: what one answer can reasonably report on. */
  readonly batchMessages: number
  /** The body of one `POST /messages`. */
  readonly batchBytes: number
  /** Bodies in hand at once, over all clients; beyond it the answer is 503. Bounds what authenticated clients can make us hold. */
  readonly bodies: number
  /** Those of them that are read before it is known who sends them, because the proof covers the body: these take no room from others. */
  readonly unprovedBodies: number
  /** Request line and headers together; a token and AWS's MQTT 5 headers fit well. */
  readonly headerBytes: number
  /** Header lines of one request; Node ignores what comes after. */
  readonly headers: number
  /** Until the headers are complete: ends those who send a byte now and then. */
  readonly headersMs: number
  /** Until the whole request is complete. */
  readonly requestMs: number
  /** How long a connection may be silent between requests; a little over the 60 s of common load balancers. */
  readonly idleMs: number
  /** Connections at once; each costs some kilobytes and a file descriptor. */
  readonly connections: number
}

/** The limits where the config says nothing. */
export const defaultHttpLimits: HttpLimits = {
  payload: 128 * 1024,
  batchMessages: 1_000,
  batchBytes: 8 * 1024 ** 2,
  bodies: 256 * 1024 ** 2,
  unprovedBodies: 32 * 1024 ** 2,
  headerBytes: 16 * 1024,
  headers: 100,
  headersMs: 10_000,
  requestMs: 30_000,
  idleMs: 72_000,
  connections: 10_000,
}
