import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import type { Access, HttpFacts, Presented } from '../core/access.ts'
import { messageOf } from '../core/errors.ts'
import { newId } from '../core/id.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import { type Arrival } from './broker/arrival.ts'
import { type Wire, wireOfWebSocket } from './broker/wire.ts'
import { type HttpConnection, httpFactsOf, presentedWith } from './http-facts.ts'
import type { PacedLog } from '../core/paced-log.ts'

export interface WebSocketDoorOptions {
  readonly access: () => Access
  /** Where MQTT goes; absent: there is no broker, and no WebSocket. */
  readonly mqtt: ((wire: Wire, arrival: Arrival) => void) | undefined
  /** Bytes of one frame; larger ones end the connection before they are kept. */
  readonly frameBytes: number
  readonly log: Log
  readonly strangers: PacedLog
  readonly metrics: Metrics
}

/** AWS IoT's path of MQTT over WebSocket. */
const path = '/mqtt'

/**
 * Makes WebSockets of upgrades to `/mqtt` that offer the subprotocol `mqtt` [MQTT-6.0.0-3]. What the request itself shows (SigV4, a
 * bearer, a client certificate) is judged here and answered 401; who shows nothing yet is asked at CONNECT.
 */
export function createWebSocketDoor(options: WebSocketDoorOptions) {
  const { access, mqtt, log, strangers, metrics } = options
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: options.frameBytes,
    perMessageDeflate: false,
    handleProtocols: (offered) => offered.has('mqtt') && 'mqtt',
  })

  return async function upgrade(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    connection: HttpConnection,
  ): Promise<void> {
    socket.on('error', () => {})
    const http = httpFactsOf(request)
    if (mqtt === undefined || http.path !== path) return refuse(socket, '404 Not Found', 'not found')
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(/ *, */)
    if (!offered.includes('mqtt')) return refuse(socket, '400 Bad Request', 'the subprotocol mqtt must be offered')
    const presented = presentedWith('mqtt-ws', http, connection)
    const principal = namesAuthorizer(http) ? undefined : await prove(presented)
    if (socket.destroyed) return
    if (typeof principal === 'string') return refuse(socket, principal, 'missing or wrong credentials')
    server.handleUpgrade(request, socket, head, (websocket) => {
      websocket.on('error', () => {})
      mqtt(wireOfWebSocket(websocket), {
        protocol: 'mqtt-ws',
        http,
        ...connection,
        ...(presented.bearer !== undefined && { bearer: presented.bearer }),
        ...(principal !== undefined && { principal }),
      })
    })
  }

  /** Who the request itself proves; undefined where it shows nothing, and the status where it is wrong. */
  async function prove(presented: Presented): Promise<Arrival['principal'] | string> {
    try {
      const verdict = await access().authenticate(presented)
      if (verdict.kind === 'principal') return verdict.principal
      if (verdict.kind === 'absent') return undefined
      if (verdict.afterMs !== undefined) {
        metrics.count('sluice_authentications_limited_total', { door: 'mqtt' })
        return '429 Too Many Requests'
      }
      metrics.count('sluice_authentications_failed_total', { door: 'mqtt' })
      strangers.warn(
        'websocket',
        { door: 'mqtt', sourceIp: presented.sourceIp, reason: verdict.reason },
        'authentication refused',
      )
      return '401 Unauthorized'
    } catch (error) {
      log.error({ error: messageOf(error) }, 'authentication failed by itself')
      return '503 Service Unavailable'
    }
  }
}

/** A custom authorizer is told the client id too, so it is asked at CONNECT, and nobody else before it (decision 9). */
function namesAuthorizer({ headers, query }: HttpFacts): boolean {
  const name = 'x-amz-customauthorizer-name'
  return headers[name] !== undefined || new URLSearchParams(query).has(name)
}

function refuse(socket: Duplex, status: string, message: string): void {
  const body = JSON.stringify({ message, traceId: newId() })
  const head = `HTTP/1.1 ${status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n`
  socket.end(head + body, () => socket.destroy())
}
