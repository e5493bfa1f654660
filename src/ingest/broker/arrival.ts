import type { HttpFacts, Presented, Principal, Protocol, TlsFacts } from '../../core/access.ts'

/** What is known of a connection before its CONNECT. */
export interface Arrival {
  readonly protocol: Exclude<Protocol, 'http'>
  readonly sourceIp?: string
  readonly tls?: TlsFacts
  /** The request that became a WebSocket. */
  readonly http?: HttpFacts
  /** What followed `Authorization: Bearer` in it. */
  readonly bearer?: string
  /** Proved by what that request showed; then CONNECT has to show nothing more. */
  readonly principal?: Principal
}

/** What a client shows when its CONNECT has come. Where its upgrade has proved who it is, nothing else of CONNECT counts, now or later. */
export function presentedBy(
  { protocol, sourceIp, tls, http, bearer, principal }: Arrival,
  connect: { readonly clientId: string; readonly username?: string; readonly password?: Buffer },
): Presented {
  return {
    protocol,
    ...(principal === undefined ? connect : { clientId: connect.clientId }),
    ...(bearer !== undefined && { bearer }),
    ...(sourceIp !== undefined && { sourceIp }),
    ...(tls !== undefined && { tls }),
    ...(http !== undefined && { http }),
  }
}
