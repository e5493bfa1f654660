import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { HttpFacts, Presented, Protocol, TlsFacts } from '../core/access.ts'

/** What is known of an HTTP connection beside its requests. */
export interface HttpConnection {
  readonly sourceIp?: string
  readonly tls?: TlsFacts
}

/** A request as auth methods see it. */
export function httpFactsOf(request: IncomingMessage, body?: () => Promise<Buffer>): HttpFacts {
  const url = request.url ?? ''
  const mark = url.indexOf('?')
  return {
    method: request.method ?? '',
    path: mark === -1 ? url : url.slice(0, mark),
    query: mark === -1 ? '' : url.slice(mark + 1),
    headers: textsOf(request.headers),
    connection: request.socket,
    ...(body !== undefined && { body }),
  }
}

/** What somebody shows with an HTTP request: `http` for one to the door, `mqtt-ws` for one that becomes a WebSocket. */
export function presentedWith(
  protocol: Exclude<Protocol, 'mqtt'>,
  http: HttpFacts,
  connection: HttpConnection,
): Presented {
  // RFC 6750 §2.1.
  const bearer = /^bearer +(?<token>[\x21-\x7e]+)$/i.exec(http.headers['authorization'] ?? '')?.groups?.['token']
  return {
    protocol,
    http,
    ...(bearer !== undefined && { bearer }),
    ...(connection.sourceIp !== undefined && { sourceIp: connection.sourceIp }),
    ...(connection.tls !== undefined && { tls: connection.tls }),
  }
}

/** Node's own object, which has no prototype, unless there is the one header that it keeps as a list: an answer's, and no request's. */
function textsOf(headers: IncomingHttpHeaders): Readonly<Record<string, string>> {
  if (headers['set-cookie'] === undefined) return headers as Readonly<Record<string, string>>
  const { 'set-cookie': _cookies, ...texts } = headers
  return Object.assign(Object.create(null) as Record<string, string>, texts)
}
