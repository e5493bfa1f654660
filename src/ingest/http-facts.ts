import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { HttpFacts, Presented, Protocol, TlsFacts } from '../core/access.ts'

/** What is known of an HTTP connection beside its requests. */
export interface HttpConnection {
  readonly sourceIp?: string
  readonly tls?: TlsFacts
}

/** A request as auth methods see it. `contentType` is put back where the door has taken it out of the headers. */
export function httpFactsOf(
  request: IncomingMessage,
  more: { readonly body?: () => Promise<Buffer>; readonly contentType?: string | undefined } = {},
): HttpFacts {
  const url = request.url ?? ''
  const mark = url.indexOf('?')
  return {
    method: request.method ?? '',
    path: mark === -1 ? url : url.slice(0, mark),
    query: mark === -1 ? '' : url.slice(mark + 1),
    headers: textsOf(request.headers, more.contentType),
    connection: request.socket,
    ...(more.body !== undefined && { body: more.body }),
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

function textsOf(headers: IncomingHttpHeaders, contentType: string | undefined): Readonly<Record<string, string>> {
  const texts: Record<string, string> = Object.create(null) as Record<string, string>
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) texts[name] = Array.isArray(value) ? value.join(', ') : value
  }
  if (contentType !== undefined) texts['content-type'] = contentType
  return texts
}
