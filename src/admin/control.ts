import { chmod, lstat, mkdir, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'
import { SluiceError, messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'

/** What the control channel serves, whoever provides it. Each function answers a JSON value. */
export interface ControlPlane {
  /** Whether a publish would be acknowledged now, and if not, why. */
  ready(): Promise<{ readonly ready: boolean; readonly because?: string }>
  status(): Promise<unknown>
  /** Queues that hold messages of a worker no file owns. */
  orphans(): Promise<unknown>
  /** Whether every acknowledged message is accounted for, by rule and worker. */
  ledger(): Promise<unknown>
  metrics(): Promise<{ readonly contentType: string; readonly page: string }>
  reload(): Promise<{ readonly problems: readonly unknown[] }>
  /** What became of a message, as far as this process has seen it; waits up to `waitMs` for a delivery. */
  trace(id: string, waitMs: number): Promise<unknown>
  deadLetters: {
    list(query: DeadLetterQuery): Promise<unknown>
    show(id: string): Promise<unknown>
    replay(query: DeadLetterQuery): Promise<unknown>
    purge(query: DeadLetterQuery): Promise<unknown>
  }
  policy: {
    /** As `sluice policy simulate`, with what has registered itself. */
    simulate(asked: unknown): Promise<unknown>
    effective(principal: string): Promise<unknown>
  }
  certificates: {
    list(): Promise<unknown>
    show(fingerprint: string): Promise<unknown>
    /** Each act with what it takes; throws WRONG_USE. */
    act(act: CertificateAct, what: CertificateRequest): Promise<unknown>
  }
}

/** What operators do with certificates. */
export const certificateActs = ['register', 'set-status', 'attach', 'detach', 'delete'] as const
export type CertificateAct = (typeof certificateActs)[number]

/** What an act is about; which of it an act takes is the act's to say. */
export interface CertificateRequest {
  readonly fingerprint?: string
  readonly pem?: string
  readonly status?: string
  readonly thing?: string
  readonly policies?: readonly string[]
}

/**
 * Which dead letters: by id, or by worker, rule and kind. One call lists or handles a stretch, of `limit` at most; `from` is the
 * `next` of the call before.
 */
export interface DeadLetterQuery {
  readonly id?: string
  readonly worker?: string
  readonly rule?: string
  readonly kind?: string
  readonly limit?: number
  readonly from?: string
}

/** Unix socket paths are cut off silently by some systems beyond this many bytes (sun_path). */
const maxSocketPathBytes = 103

export interface Control {
  /** Takes no more calls and waits for the answers to those in hand; cuts what is left after `deadlineMs`. */
  close(deadlineMs?: number): Promise<void>
}

/** Serves the control channel on a Unix socket of mode 0600: whoever may read the data folder operates the system. */
export async function openControl(socketPath: string, plane: ControlPlane, log: Log): Promise<Control> {
  if (Buffer.byteLength(socketPath) > maxSocketPathBytes) {
    throw new SluiceError(
      'LISTEN_FAILED',
      `the control socket's path is too long for a Unix socket (${socketPath}); set a shorter "data:"`,
    )
  }
  await mkdir(dirname(socketPath), { recursive: true })
  await removeStale(socketPath)
  // A publisher's own id has up to 128 characters, and the id of a dead letter holds it; percent-encoded each takes three.
  const server = Fastify({ logger: false, bodyLimit: 1024 * 1024, routerOptions: { maxParamLength: 2_048 } })
  server.setErrorHandler(async (error, _request, reply) => {
    const status =
      error instanceof SluiceError ? statusOf(error) : ((error as { statusCode?: number }).statusCode ?? 500)
    await reply.code(status).send({ message: messageOf(error) })
  })
  addRoutes(server, plane, log)
  // Nobody else from the start. (Not 0o177: for this moment the mask is the whole process', and folders need their x.)
  const mask = process.umask(0o077)
  try {
    await server.listen({ path: socketPath })
  } finally {
    process.umask(mask)
  }
  await chmod(socketPath, 0o600)
  return {
    async close(deadlineMs = 1_000) {
      const cut = setTimeout(() => server.server.closeAllConnections(), deadlineMs)
      await server.close().finally(() => clearTimeout(cut))
    },
  }
}

function addRoutes(server: FastifyInstance, plane: ControlPlane, log: Log): void {
  server.get('/healthz', async () => ({ status: 'ok' }))
  server.get('/readyz', async (_request, reply) => {
    const state = await plane.ready()
    return reply.code(state.ready ? 200 : 503).send(state)
  })
  server.get('/metrics', async (_request, reply) => {
    const { contentType, page } = await plane.metrics()
    return reply.type(contentType).send(page)
  })
  server.get('/status', async () => plane.status())
  server.get('/orphans', async () => plane.orphans())
  server.get('/ledger', async () => plane.ledger())
  server.get<{ Params: { id: string }; Querystring: { waitMs?: string } }>('/trace/:id', async (request) =>
    plane.trace(request.params.id, Math.min(Number(request.query.waitMs ?? 0) || 0, 60_000)),
  )
  server.post('/reload', async () => {
    const result = await plane.reload()
    log.info({ act: 'reload', problems: result.problems.length }, 'audit')
    return result
  })
  server.get<{ Querystring: Record<string, string | undefined> }>('/dead-letters', async (request) =>
    plane.deadLetters.list(queryFrom(request.query)),
  )
  server.get<{ Params: { id: string } }>('/dead-letters/:id', async (request) =>
    plane.deadLetters.show(request.params.id),
  )
  server.post<{ Body: unknown }>('/policy/simulate', async (request) => plane.policy.simulate(request.body))
  server.get<{ Params: { principal: string } }>('/policy/effective/:principal', async (request) =>
    plane.policy.effective(request.params.principal),
  )
  server.get('/certificates', async () => plane.certificates.list())
  server.get<{ Params: { fingerprint: string } }>('/certificates/:fingerprint', async (request) =>
    plane.certificates.show(request.params.fingerprint),
  )
  for (const act of certificateActs) {
    server.post<{ Body: Record<string, unknown> | null }>(`/certificates/${act}`, async (request) => {
      const { pem, ...what } = certificateRequestFrom(request.body ?? {})
      const result = await plane.certificates.act(act, { ...what, ...(pem !== undefined && { pem }) })
      log.info({ act: `certificates ${act}`, ...what, result }, 'audit')
      return result
    })
  }
  for (const act of ['replay', 'purge'] as const) {
    server.post<{ Body: Record<string, string | undefined> | null }>(`/dead-letters/${act}`, async (request) => {
      const query = queryFrom(request.body ?? {})
      const result = await plane.deadLetters[act](query)
      log.info({ act: `dead-letters ${act}`, query, result }, 'audit')
      return result
    })
  }
}

function certificateRequestFrom(given: Readonly<Record<string, unknown>>): CertificateRequest {
  const text = (name: string) => (typeof given[name] === 'string' && given[name] !== '' ? { [name]: given[name] } : {})
  const policies = given['policies']
  const names = Array.isArray(policies) ? policies.filter((name): name is string => typeof name === 'string') : []
  return {
    ...text('fingerprint'),
    ...text('pem'),
    ...text('status'),
    ...text('thing'),
    ...(names.length > 0 && { policies: names }),
  }
}

function queryFrom(given: Readonly<Record<string, unknown>>): DeadLetterQuery {
  const text = (name: string) => (typeof given[name] === 'string' && given[name] !== '' ? { [name]: given[name] } : {})
  const limit = given['limit'] === undefined ? undefined : Number(given['limit'])
  if (limit !== undefined && (!Number.isSafeInteger(limit) || limit < 1))
    throw new SluiceError('WRONG_USE', 'limit must be a whole number from 1 on')
  return {
    ...text('id'),
    ...text('worker'),
    ...text('rule'),
    ...text('kind'),
    ...text('from'),
    ...(limit !== undefined && { limit }),
  }
}

function statusOf(error: SluiceError): number {
  if (error.code === 'WRONG_USE') return 400
  return error.code === 'QUEUE_AWAY' ? 503 : 500
}

/** Removes a socket that a dead process left; refuses where somebody still listens or where something else stands. */
async function removeStale(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => undefined)
  if (stats === undefined) return
  if (!stats.isSocket())
    throw new SluiceError(
      'LISTEN_FAILED',
      `${path} is in the way of the control socket and is not a socket; move it away`,
    )
  const alive = await new Promise<boolean>((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => (socket.destroy(), resolve(true)))
    socket.once('error', () => resolve(false))
  })
  if (alive)
    throw new SluiceError(
      'LISTEN_FAILED',
      `another Sluice serves ${path}; stop it, or give this one another "data:" folder`,
    )
  await rm(path)
}
