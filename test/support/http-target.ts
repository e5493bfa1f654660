import * as http from 'node:http'
import * as https from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Scope } from './cleanup.ts'

/** A request that a target received. */
export interface Received {
  readonly method: string
  readonly url: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: Buffer
}

/** What a target answers; a function may use the response itself, for answers that are cut off or never come. */
export type Answer =
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string | Buffer }
  | ((response: http.ServerResponse, request: Received) => void)

export interface HttpTarget {
  /** `http(s)://127.0.0.1:<port>`, without a slash at the end. */
  readonly url: string
  readonly received: Received[]
  /** Connections taken so far. */
  readonly connections: () => number
  answer: (request: Received) => Answer | Promise<Answer>
  readonly stop: () => Promise<void>
}

/** A real HTTP server on loopback that keeps what it receives and answers as the test says; 200 by default. */
export async function startHttpTarget(
  scope: Scope,
  options: { readonly tls?: { readonly key: string; readonly cert: string }; readonly port?: number } = {},
): Promise<HttpTarget> {
  let connections = 0
  const handle = (request: http.IncomingMessage, response: http.ServerResponse) => {
    const chunks: Buffer[] = []
    request.on('error', () => {})
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method = '', url = '', headers } = request
      void reply({ method, url, headers, body: Buffer.concat(chunks) }, response)
    })
  }
  const server = options.tls === undefined ? http.createServer(handle) : https.createServer(options.tls, handle)
  server.on('connection', () => (connections += 1))
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve))
  const stop = async () => {
    if (!server.listening) return
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  scope.after(stop)
  const target: HttpTarget = {
    url: `${options.tls === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received: [],
    connections: () => connections,
    answer: () => ({ status: 200 }),
    stop,
  }
  return target

  async function reply(request: Received, response: http.ServerResponse): Promise<void> {
    target.received.push(request)
    const answer = await target.answer(request)
    if (typeof answer === 'function') return answer(response, request)
    response.writeHead(answer.status, answer.headers)
    response.end(answer.body)
  }
}
