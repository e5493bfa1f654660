import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import type { Accept, AcceptBatch, Accepted, Access, Speaker } from '../core/access.ts'
import { messageOf } from '../core/errors.ts'
import { newId } from '../core/id.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import { type BatchItem, readBatch } from './http-batch.ts'
import type { Arrival } from './broker/arrival.ts'
import type { Wire } from './broker/wire.ts'
import { BodyBudget, RequestBody } from './http-body.ts'
import { type HttpConnection, httpFactsOf, presentedWith } from './http-facts.ts'
import { defaultHttpLimits, type HttpLimits } from './http-limits.ts'
import { type Query, readPublish } from './http-publish.ts'
import { badRequest, HttpRefusal, retryAfter } from './http-refusal.ts'
import { createWebSocketDoor } from './http-websocket.ts'
import { failedToListen } from './listen-error.ts'
import { addressOf } from './listen-on.ts'
import { createPacedLog } from '../core/paced-log.ts'
import { sourceIpOf } from './source-ip.ts'

export interface HttpDoorOptions {
  /** The identities and policies in force; asked for every request, because a reload replaces them. */
  readonly access: () => Access
  readonly accept: Accept
  readonly acceptBatch: AcceptBatch
  /** Whether a publish would be acknowledged now; `/readyz` says it. */
  readonly ready: () => boolean | Promise<boolean>
  /** Takes MQTT over WebSocket; absent where there is no broker. */
  readonly mqtt?: (wire: Wire, arrival: Arrival) => void
  readonly limits?: Partial<HttpLimits>
  readonly log: Log
  readonly metrics: Metrics
}

export interface HttpDoor {
  /** Opens the door; throws SluiceError LISTEN_FAILED. `port: 0` takes a free one. */
  listen(where: { readonly host: string; readonly port: number }): Promise<void>
  /** Serves connections that another door has opened: TLS. To be awaited once before the first `handle`. */
  ready(): Promise<void>
  handle(socket: Socket, connection: HttpConnection): void
  /** Where it listens; undefined before `listen` and after `close`. */
  address(): { readonly host: string; readonly port: number } | undefined
  /** Takes no more requests and waits for the answers to those in hand; cuts what is left after `deadlineMs`. */
  close(deadlineMs?: number): Promise<void>
}

const unauthorized = 'missing or wrong credentials'
const closingMs = 2_000
/** Topic and header of a PUBLISH beside its payload; a stranger can make us hold one frame. */
const frameRoom = 8 * 1024

/**
 * The HTTP door: `POST /topics/<topic>` answers as AWS IoT's data plane (aws-security §11), `POST /messages` takes batches,
 * `/healthz` and `/readyz` say yes or no. A client is authenticated before a byte of its body is read.
 */
export function createHttpDoor(options: HttpDoorOptions): HttpDoor {
  const { access, accept, acceptBatch, log, metrics } = options
  const limits = { ...defaultHttpLimits, ...options.limits }
  const budget = new BodyBudget(limits.bodies)
  const unproved = new BodyBudget(limits.unprovedBodies)
  const strangers = createPacedLog(log)
  /** What TLS has shown of a connection. */
  const connections = new WeakMap<Socket, HttpConnection>()
  /** Content types that were taken out of the headers for the framework's sake. */
  const contentTypes = new WeakMap<object, string>()
  let closing = false
  let asking: Promise<boolean> | undefined

  const app = fastify({
    logger: false,
    // Bodies are passed on as streams and read below, after authentication, each under its own limit.
    bodyLimit: limits.batchBytes,
    requestTimeout: limits.requestMs,
    connectionTimeout: Math.max(limits.requestMs, limits.idleMs) * 2,
    keepAliveTimeout: limits.idleMs,
    // An HTTP/1.1 server of its own shape: it would answer in Fastify's words.
    return503OnClosing: false,
    requestIdHeader: false,
    http: {
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersMs,
      connectionsCheckingInterval: Math.min(5_000, limits.headersMs),
      // Two Authorization headers become one that is not valid, instead of the first of them.
      joinDuplicateHeaders: true,
      // Other upgrades are offers that may be left alone (RFC 9110 §7.8): some clients offer HTTP/2 with every request.
      shouldUpgradeCallback: ({ headers }) => /^websocket$/i.test(headers.upgrade ?? ''),
    },
    frameworkErrors: (error, _request, reply) => void refuse(reply, badRequest(briefly(error))),
    clientErrorHandler: (error, socket) => refuseMalformed(error, socket),
  })
  app.server.maxHeadersCount = limits.headers
  app.server.maxConnections = limits.connections
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
  app.setErrorHandler((error, _request, reply) => refuse(reply, refusalFrom(error)))
  app.setNotFoundHandler((request, reply) => refuse(reply, notFound(request, reply)))

  // Any content type will do, one that isn't valid too, which Fastify would refuse.
  const anyContentType = (request: FastifyRequest, _reply: FastifyReply, done: () => void): void => {
    const { headers } = request.raw
    if (headers['content-type'] !== undefined) contentTypes.set(request.raw, headers['content-type'])
    delete headers['content-type']
    done()
  }

  app.post('/topics/*', { onRequest: anyContentType }, async (request, reply) => {
    return withBody(request, limits.payload, async (body) => {
      const speaker = await authenticate(request, body)
      // The router has decoded it, `%2F` too: from here on a topic is a topic.
      const topic = (request.params as { '*': string })['*']
      const publish = readPublish(topic, request.query as Query, request.headers)
      return answer(reply, await accept(speaker, { ...publish, payload: await body.read() }))
    })
  })

  app.post('/messages', async (request, reply) => {
    return withBody(request, limits.batchBytes, async (body) => {
      const speaker = await authenticate(request, body)
      const items = readBatch(await body.read(), request.headers['content-type'], limits.batchMessages)
      const publishes = items.flatMap((item) => ('publish' in item ? [item.publish] : []))
      const accepted = await acceptBatch(speaker, publishes)
      if (accepted.kind === 'whole') return answer(reply, accepted.answer)
      return answerBatch(reply, items, accepted.answers)
    })
  })

  app.get('/healthz', async () => ({ message: 'OK' }))
  app.get('/readyz', async (_request, reply) => {
    if (!(await isReady())) reply.code(503)
    return { message: reply.statusCode === 200 ? 'OK' : 'not ready' }
  })

  function connectionOf(socket: Socket): HttpConnection {
    const known = connections.get(socket)
    if (known !== undefined) return known
    const sourceIp = sourceIpOf(socket.remoteAddress)
    return sourceIp === undefined ? {} : { sourceIp }
  }

  async function authenticate(request: FastifyRequest, body: RequestBody): Promise<Speaker> {
    if (closing) throw new HttpRefusal(503, 'shutting down', closingMs)
    const connection = connectionOf(request.raw.socket)
    const { sourceIp, tls } = connection
    // The framework has had its look: from here on the headers are as they came.
    const contentType = contentTypes.get(request.raw)
    if (contentType !== undefined) request.raw.headers['content-type'] = contentType
    const facts = httpFactsOf(request.raw, () => body.read(unproved))
    const presented = presentedWith('http', facts, connection)
    const verdict = await access()
      .authenticate(presented)
      .catch((error: unknown) => {
        log.error({ error: messageOf(error) }, 'authentication failed by itself')
        throw new HttpRefusal(503, 'authentication is not possible now', closingMs)
      })
    if (verdict.kind === 'principal') {
      const { serverName } = tls ?? {}
      return {
        principal: verdict.principal,
        protocol: 'http',
        ...(sourceIp !== undefined && { sourceIp }),
        ...(serverName !== undefined && { serverName }),
      }
    }
    // A proof that covers the body could not be looked at without it.
    if (body.failure !== undefined) throw body.failure
    if (verdict.kind === 'refused' && verdict.afterMs !== undefined) {
      metrics.count('sluice_authentications_limited_total', { door: 'http' })
      throw new HttpRefusal(429, 'too many attempts; try again later', verdict.afterMs)
    }
    metrics.count('sluice_authentications_failed_total', { door: 'http' })
    const reason = verdict.kind === 'refused' ? verdict.reason : 'no credentials'
    strangers.warn('http', { door: 'http', sourceIp, reason }, 'authentication refused')
    throw new HttpRefusal(401, unauthorized)
  }

  async function withBody<T>(
    request: FastifyRequest,
    limit: number,
    use: (body: RequestBody) => Promise<T>,
  ): Promise<T> {
    const stream = request.body as Readable | undefined
    const body = new RequestBody({ headers: request.headers, stream }, limit, budget)
    try {
      return await use(body)
    } finally {
      body.release()
    }
  }

  /** Those who ask at the same time get the same answer: strangers may ask, and must not make us ask the queue as often. */
  function isReady(): Promise<boolean> {
    asking ??= Promise.resolve()
      .then(() => !closing && options.ready())
      .catch(() => false)
      .finally(() => (asking = undefined))
    return asking
  }

  function refusalFrom(error: unknown): HttpRefusal {
    if (error instanceof HttpRefusal) return error
    const status = typeof error === 'object' && error !== null && 'statusCode' in error ? Number(error.statusCode) : 500
    if (status >= 400 && status < 500) return new HttpRefusal(status, briefly(error))
    log.error({ error: messageOf(error) }, 'a request failed')
    return new HttpRefusal(500, 'internal failure')
  }

  const upgrade = createWebSocketDoor({
    access,
    mqtt: options.mqtt,
    frameBytes: limits.payload + frameRoom,
    log,
    strangers,
    metrics,
  })
  app.server.on('upgrade', (request, socket, head) => {
    if (closing) return void socket.destroy()
    void upgrade(request, socket, head, connectionOf(request.socket))
  })

  return {
    async ready() {
      await app.ready()
      // Node looks after the deadlines of requests from the moment a server listens; this one may never do so itself.
      if (!app.server.listening) app.server.emit('listening')
    },
    handle(socket, connection) {
      connections.set(socket, connection)
      app.server.emit('connection', socket)
    },
    async listen({ host, port }) {
      await app.listen({ host, port }).catch(async (error: unknown) => {
        throw await failedToListen('listen.http', host, port, error)
      })
    },
    address: () => addressOf(app.server),
    async close(deadlineMs = 10_000) {
      closing = true
      const cut = setTimeout(() => app.server.closeAllConnections(), deadlineMs)
      await app.close().finally(() => clearTimeout(cut))
    },
  }
}

function answer(reply: FastifyReply, accepted: Accepted): FastifyReply {
  if (accepted.kind === 'accepted') return reply.send({ message: 'OK', traceId: accepted.id })
  if (accepted.kind === 'later') reply.header('retry-after', retryAfter(accepted.afterMs))
  return reply.code(accepted.status).send({ message: accepted.message, traceId: accepted.id })
}

/**
 * Answers are in the order of the messages. The status is for clients that look at nothing else: 503, all of it again, where anything
 * could come in later; the refusals' where nothing came in, and will not; 200 where something did, because to send that again
 * would change nothing but make copies of it. (207 is success to some shippers and a reason to repeat to others.)
 */
function answerBatch(reply: FastifyReply, items: readonly BatchItem[], answers: readonly Accepted[]): FastifyReply {
  const next = answers.values()
  let waitMs: number | undefined
  const results = items.map(
    (item): { readonly status: number; readonly message?: string; readonly traceId?: string } => {
      if ('problem' in item) return { status: 400, message: item.problem }
      // As many answers as there are messages.
      const accepted = next.next().value as Accepted
      if (accepted.kind === 'accepted') return { status: 200, traceId: accepted.id }
      if (accepted.kind === 'later') waitMs = Math.max(waitMs ?? 0, accepted.afterMs)
      return { status: accepted.status, message: accepted.message }
    },
  )
  if (waitMs !== undefined) reply.code(503).header('retry-after', retryAfter(waitMs))
  else reply.code(statusOf(results))
  return reply.send({ results })
}

function statusOf(results: readonly { readonly status: number }[]): number {
  const different = new Set(results.map(({ status }) => status))
  const [first = 200] = different
  if (different.has(200)) return 200
  return different.size <= 1 ? first : 400
}

function refuse(reply: FastifyReply, refusal: HttpRefusal): FastifyReply {
  if (refusal.status === 401) reply.header('www-authenticate', 'Bearer')
  if (refusal.afterMs !== undefined) reply.header('retry-after', retryAfter(refusal.afterMs))
  return reply.code(refusal.status).send({ message: refusal.message, traceId: newId() })
}

function notFound(request: FastifyRequest, reply: FastifyReply): HttpRefusal {
  const path = request.url.split('?', 1)[0] ?? ''
  const posts = path.startsWith('/topics/') || path === '/messages'
  if (!posts && path !== '/healthz' && path !== '/readyz') return new HttpRefusal(404, 'not found')
  reply.header('allow', posts ? 'POST' : 'GET, HEAD')
  return new HttpRefusal(405, `this path takes ${posts ? 'POST' : 'GET'} only`)
}

/** Answers what is not HTTP, or stopped in the middle, in the same shape, and closes. */
function refuseMalformed(error: Error & { readonly code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
  const [status, reason] = malformed.get(error.code ?? '') ?? ['400 Bad Request', 'the request is not valid HTTP']
  const body = JSON.stringify({ message: reason, traceId: newId() })
  const head = `HTTP/1.1 ${status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n`
  socket.end(head + body, () => socket.destroy())
}

const malformed: ReadonlyMap<string, readonly [status: string, reason: string]> = new Map([
  ['HPE_HEADER_OVERFLOW', ['431 Request Header Fields Too Large', 'the request headers are too large']],
  ['ERR_HTTP_REQUEST_TIMEOUT', ['408 Request Timeout', 'the request was not complete in time']],
])

function briefly(error: unknown): string {
  return messageOf(error).slice(0, 200)
}
