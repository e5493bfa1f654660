import * as http from 'node:http'
import * as https from 'node:https'
import type { HttpAnswer } from './http-answer.ts'
import type { HttpRequest } from './http-request.ts'

export interface ExchangeOptions {
  readonly method: string
  /** Milliseconds from the beginning to the end of the answer. */
  readonly timeout: number
  /** Bytes of an answer that are read. */
  readonly maxResponse: number
  /** Trusted authorities as PEM text, instead of the system's. */
  readonly ca?: string
  readonly servername?: string
  readonly secure: boolean
}

export interface Exchange {
  /** One request and its answer. Rejects with what went wrong where there is no answer. */
  readonly exchange: (request: HttpRequest, signal: AbortSignal) => Promise<HttpAnswer>
  readonly close: () => void
}

/** Connections that were idle for this long are let go, before common servers do (Node: 5 s) and a request meets the end. */
const idleMs = 4_000

/** How much of an answer is kept for the log. */
const keptBytes = 1_024

/**
 * Requests over kept connections of their own. Not `fetch`: it takes no authorities of one's own without a package more,
 * and it obeys proxies in the environment when told to there. Redirects are never followed.
 */
export function createExchange(options: ExchangeOptions): Exchange {
  const { method, timeout, maxResponse, secure } = options
  const common = { keepAlive: true, timeout: idleMs, scheduling: 'lifo' } as const
  const agent = secure
    ? new https.Agent({
        ...common,
        ...(options.ca !== undefined && { ca: options.ca }),
        ...(options.servername !== undefined && { servername: options.servername }),
      })
    : new http.Agent(common)
  const start = secure ? https.request : http.request

  return {
    exchange({ url, headers, body }, signal) {
      return new Promise((resolve, reject) => {
        const late = AbortSignal.timeout(timeout)
        const request = start(url, {
          method,
          agent,
          signal: AbortSignal.any([signal, late]),
          headers: { ...Object.fromEntries(headers), 'content-length': body.length },
          maxHeaderSize: 16_384,
        })
        let answered = false
        const fail = (error: Error) => {
          // A status that has been said stands, whatever becomes of the rest of the answer.
          if (answered) return
          reject(late.aborted && !signal.aborted ? new Error(`no answer within ${timeout} ms`) : error)
        }
        request.on('error', fail)
        request.on('close', () => {
          fail(new Error('the connection was closed without an answer'))
        })
        request.on('response', (response) => {
          answered = true
          const answer = {
            status: response.statusCode ?? 0,
            retryAfter: response.headers['retry-after'],
            location: response.headers.location,
          }
          readBeginning(response, maxResponse, (beginning) => resolve({ ...answer, beginning }))
        })
        request.end(body)
      })
    },
    close: () => agent.destroy(),
  }
}

/** Reads an answer to its end, so that its connection can be used again; one that is too long costs its connection. */
function readBeginning(response: http.IncomingMessage, most: number, done: (beginning: string) => void): void {
  const kept: Buffer[] = []
  let length = 0
  const finish = () => done(Buffer.concat(kept).subarray(0, keptBytes).toString('utf8'))
  response.on('data', (chunk: Buffer) => {
    if (length < keptBytes) kept.push(chunk)
    length += chunk.length
    if (length > most) response.destroy()
  })
  response.on('error', () => {})
  response.on('close', finish)
}
