import { request as plain } from 'node:http'
import { request as secure } from 'node:https'
import { setTimeout as wait } from 'node:timers/promises'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { WebSocket } from 'ws'
import type { Scope } from './cleanup.ts'

/** What a client shows, whatever the door. */
export interface Shown {
  /** PEM: a client certificate and its key. */
  readonly certificate?: { readonly pem: string; readonly key: string }
  readonly username?: string
  readonly password?: string
  readonly clientId?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Behind the path, with its `?`. */
  readonly query?: string
  readonly alpn?: string
}

export interface Ports {
  readonly http: number
  readonly mqtt: number
  readonly https: number
  readonly mqtts: number
}

/** A real client for each door of one Sluice. */
export class DoorClients {
  readonly ports: Ports
  readonly #ca: string
  readonly #scope: Scope
  #connects = 0

  constructor(scope: Scope, ports: Ports, ca: string) {
    this.ports = ports
    this.#ca = ca
    this.#scope = scope
  }

  /** Publishes over HTTP or HTTPS; gives the status, or 0 where TLS or the connection failed. */
  async post(door: 'http' | 'https', shown: Shown, path = '/topics/ok/x', body = 'x'): Promise<number> {
    return (await this.answer(door, shown, path, body)).status
  }

  async answer(
    door: 'http' | 'https',
    shown: Shown,
    path: string,
    body: string,
  ): Promise<{ readonly status: number; readonly text: string }> {
    const { promise, resolve } = Promise.withResolvers<{ status: number; text: string }>()
    const options = {
      host: '127.0.0.1',
      port: this.ports[door],
      path: `${path}${shown.query ?? ''}`,
      method: 'POST',
      agent: false,
      headers: { ...shown.headers, 'content-length': Buffer.byteLength(body) },
    } as const
    const call = door === 'https' ? secure({ ...options, ...this.#tls(shown) }) : plain(options)
    call.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => (text += part))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
      response.on('error', () => resolve({ status: 0, text }))
    })
    call.on('error', () => resolve({ status: 0, text: '' }))
    call.end(body)
    return promise
  }

  /**
   * Connects over MQTT: `in`, the return code of the CONNACK, the status that refused an upgrade, or `closed`. `client` is there
   * where it is in.
   */
  async connect(
    door: 'mqtt' | 'mqtts' | 'ws' | 'wss',
    shown: Shown,
  ): Promise<{ readonly result: string; readonly client?: MqttClient }> {
    const options: IClientOptions = {
      protocolVersion: 4,
      // One of its own each time: a client id that connects over and over is told to wait.
      clientId: shown.clientId ?? `c-${(this.#connects += 1)}`,
      reconnectPeriod: 0,
      connectTimeout: 8_000,
      ...(shown.username !== undefined && { username: shown.username }),
      ...(shown.password !== undefined && { password: shown.password }),
    }
    const port = { mqtt: this.ports.mqtt, mqtts: this.ports.mqtts, ws: this.ports.http, wss: this.ports.https }[door]
    const path = door === 'ws' || door === 'wss' ? `/mqtt${shown.query ?? ''}` : ''
    const tls = door === 'mqtts' || door === 'wss' ? this.#tls(shown) : {}
    // The client of MQTT says nothing of an upgrade that was refused.
    const refused = Promise.withResolvers<never>()
    refused.promise.catch(() => {})
    const websocket = {
      createWebsocket: (url: string) => {
        const socket = new WebSocket(url, ['mqtt'], { headers: shown.headers ?? {}, ...tls })
        socket.on('error', refused.reject)
        return socket
      },
    }
    try {
      const connecting = connectAsync(`${door}://127.0.0.1:${port}${path}`, {
        ...options,
        ...(door === 'mqtts' && tls),
        ...(path !== '' && websocket),
      })
      connecting.catch(() => {})
      const client = await Promise.race([connecting, refused.promise])
      client.on('error', () => {})
      this.#scope.after(() => client.endAsync(true))
      return { result: 'in', client }
    } catch (error) {
      return { result: resultOf(error) }
    }
  }

  #tls({ certificate, alpn }: Shown) {
    return {
      ca: this.#ca,
      servername: 'localhost',
      ...(certificate !== undefined && { cert: certificate.pem, key: certificate.key }),
      ...(alpn !== undefined && { ALPNProtocols: [alpn] }),
    }
  }
}

/** Milliseconds until the broker ends the connection; throws where it doesn't within `ms`. */
export async function offWithin(client: MqttClient, ms: number): Promise<number> {
  const start = performance.now()
  if (!client.connected) return 0
  const closed = new Promise<void>((resolve) => client.once('close', () => resolve()))
  if ((await Promise.race([closed, wait(ms, 'late' as const)])) === 'late')
    throw new Error(`still connected after ${ms} ms`)
  return performance.now() - start
}

function resultOf(error: unknown): string {
  const { code, message } = error as { readonly code?: unknown; readonly message?: string }
  if (typeof code === 'number') return `code ${code}`
  const status = /Unexpected server response: (?<status>\d+)/.exec(message ?? '')?.groups?.['status']
  return status ?? 'closed'
}
