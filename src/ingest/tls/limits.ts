/** What the TLS front takes from a stranger before it says no. */
export interface TlsLimits {
  /** Bytes until the ClientHello is complete. Those of browsers have about 2 KiB; post-quantum keys and many extensions fit well. */
  readonly helloBytes: number
  /** Milliseconds from the connection to the end of the handshake, the PROXY header included. */
  readonly handshakeMs: number
  /** Handshakes at once; each costs some tens of kilobytes and a signature. Those beyond wait for their turn. */
  readonly handshakes: number
  /** Connections that are not in a handshake yet: silent ones, and those that wait. Beyond it the oldest is closed. */
  readonly greetings: number
  /** Connections at once, whatever they do. */
  readonly connections: number
}

/** The limits where the config says nothing. */
export const defaultTlsLimits: TlsLimits = {
  helloBytes: 16 * 1024,
  handshakeMs: 10_000,
  handshakes: 1_000,
  greetings: 4_000,
  connections: 20_000,
}
