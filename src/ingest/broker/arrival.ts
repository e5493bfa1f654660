import type { HttpFacts, Presented, Principal, Protocol, TlsFacts } from '../../core/access.ts'

/** What is known of a connection before its CONNECT. */
export interface Arrival {
  readonly protocol: Exclude<Protocol, 'http'>
  readonly sourceIp?: string
  readonly tls?: TlsFacts
  /** The request that became a WebSocket. */
  readonly http?: HttpFacts
  /** Proved by what that request showed; then CONNECT has to show nothing more. */
  readonly principal?: Principal
}

/** What a client shows when its CONNECT has come. */
export function presentedBy(
  { protocol, sourceIp, tls, http }: Arrival,
  connect: { readonly clientId: string; readonly username?: string; readonly password?: Buffer },
): Presented {
  return {
    protocol,
    ...connect,
    ...(sourceIp !== undefined && { sourceIp }),
    ...(tls !== undefined && { tls }),
    ...(http !== undefined && { http }),
  }
}
