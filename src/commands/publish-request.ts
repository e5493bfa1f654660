import { request as plain } from 'node:http'
import { request as secure } from 'node:https'
import { SluiceError, messageOf } from '../core/errors.ts'

/** How a message is published as somebody. */
export interface Sender {
  /** `http://…` or `https://…`, without a path. */
  readonly door: string
  readonly token?: string
  /** PEM texts of a client certificate and its key, and of the authority of the door. */
  readonly certificate?: { readonly certificate: string; readonly key: string }
  readonly authority?: string
}

/** Longest answer that is read. */
const maxAnswer = 64 * 1024
const timeoutMs = 30_000

/** Posts a body and gives the status and the answer. Throws SluiceError NOT_RUNNING where nobody answers. */
export function post(
  sender: Sender,
  path: string,
  headers: Readonly<Record<string, string>>,
  body: Buffer,
): Promise<{ readonly status: number; readonly message?: string; readonly traceId?: string }> {
  const { door, token, certificate, authority } = sender
  const url = new URL(path, door)
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; message?: string; traceId?: string }>()
  const options = {
    method: 'POST',
    timeout: timeoutMs,
    headers: {
      ...headers,
      'content-length': body.length,
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    },
  }
  const tls = {
    ...(certificate !== undefined && { cert: certificate.certificate, key: certificate.key }),
    ...(authority !== undefined && { ca: authority }),
  }
  const call = url.protocol === 'https:' ? secure(url, { ...options, ...tls }) : plain(url, options)
  call.on('response', (response) => {
    let text = ''
    response.setEncoding('utf8')
    response.on('data', (chunk: string) => {
      text += chunk
      if (text.length > maxAnswer) call.destroy(new Error('the answer is too large'))
    })
    response.on('error', reject)
    response.on('end', () => resolve({ ...readAnswer(text), status: response.statusCode ?? 0 }))
  })
  call.on('timeout', () => call.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)))
  call.on('error', (error: unknown) =>
    reject(
      new SluiceError(
        'NOT_RUNNING',
        `nobody answers at ${door} (${messageOf(error)}); is Sluice running, and is that its HTTP door?`,
        { cause: error },
      ),
    ),
  )
  call.end(body)
  return promise
}

function readAnswer(text: string): { message?: string; traceId?: string } {
  try {
    return JSON.parse(text) as { message?: string; traceId?: string }
  } catch {
    return {}
  }
}
