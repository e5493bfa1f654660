import { request } from 'node:http'
import { SluiceError } from '../core/errors.ts'

export interface CallOptions {
  /** Ends the call. */
  readonly signal?: AbortSignal
  /** Largest answer that is read; 64 MiB by default: a page of dead letters stays far below. */
  readonly maxBytes?: number
}

export interface ControlAnswer {
  readonly status: number
  readonly body: unknown
}

/**
 * Speaks to a running Sluice over its control socket. Throws SluiceError NOT_RUNNING, with what to do, when nobody listens.
 */
export function callControl(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
  { signal, maxBytes = 64 * 1024 * 1024 }: CallOptions = {},
): Promise<ControlAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<ControlAnswer>()
  const payload = body === undefined ? undefined : JSON.stringify(body)
  const headers =
    payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }
  // One call, one connection: one kept open would hold up the other side's stop.
  const options = { socketPath, method, path, headers, agent: false, ...(signal !== undefined && { signal }) } as const
  const call = request(options, (response) => {
    const chunks: Buffer[] = []
    let size = 0
    response.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > maxBytes) call.destroy(new Error('the answer is too large'))
      else chunks.push(chunk)
    })
    // An answer that breaks off in the middle.
    response.on('error', reject)
    response.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8')
      const isJson = response.headers['content-type']?.includes('json') ?? false
      try {
        resolve({ status: response.statusCode ?? 0, body: isJson ? (JSON.parse(text) as unknown) : text })
      } catch (error) {
        reject(new Error('the answer is not JSON', { cause: error }))
      }
    })
  })
  call.on('error', (error: NodeJS.ErrnoException) => {
    const nobody = error.code === 'ENOENT' || error.code === 'ECONNREFUSED'
    const text = `no running Sluice answers at ${socketPath}; start one with "sluice start" or "sluice ingest", or name its configuration with --config`
    reject(nobody ? new SluiceError('NOT_RUNNING', text, { cause: error }) : error)
  })
  call.end(payload)
  return promise
}
