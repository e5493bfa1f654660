import { randomUUID } from 'node:crypto'
import * as http from 'node:http'
import * as https from 'node:https'
import { messageOf } from '../../core/errors.ts'
import { maxAnswer } from './answer.ts'
import { CallFailed } from './call-failed.ts'
import type { AuthorizerFunction } from './function.ts'
import { readWebhookSecret, webhookHeaders } from './webhook.ts'

export interface EndpointOptions {
  readonly url: string
  /** The authorizer's ARN: whose question it is. */
  readonly arn: string
  /** Milliseconds for one exchange, from connecting to the end of the answer. */
  readonly timeout: number
  readonly now: () => number
  /** Trusted authorities as PEM text, instead of the system's. */
  readonly ca?: string
  readonly secret?: string
}

/** Connections that were idle for this long are let go, before common servers do (Node: 5 s) and a request meets the end. */
const idleMs = 4_000

/**
 * An authorizer behind HTTP: POST with the event as JSON, 200 with the answer as JSON. Redirects are not followed, and nothing is
 * tried twice. With a secret each request is signed (Standard Webhooks). Its `webhook-id` begins with the authorizer's ARN and is
 * part of what is signed: a receiver that compares it can't be used by somebody else's Sluice (aws-security §16).
 */
export function createEndpoint(options: EndpointOptions): AuthorizerFunction {
  const { url, arn, timeout, now } = options
  const secure = url.startsWith('https:')
  const common = { keepAlive: true, timeout: idleMs, scheduling: 'lifo' } as const
  const agent = secure
    ? new https.Agent({ ...common, ...(options.ca !== undefined && { ca: options.ca }) })
    : new http.Agent(common)
  const start = secure ? https.request : http.request
  const key = options.secret === undefined ? undefined : readWebhookSecret(options.secret)

  return {
    invoke(event) {
      const body = Buffer.from(JSON.stringify(event), 'utf8')
      return new Promise((resolve, reject) => {
        const late = AbortSignal.timeout(timeout)
        const request = start(url, {
          method: 'POST',
          agent,
          signal: late,
          maxHeaderSize: 16_384,
          headers: {
            'content-type': 'application/json',
            'content-length': body.length,
            accept: 'application/json',
            'user-agent': 'sluice',
            ...(key !== undefined && webhookHeaders(key, `${arn}:${randomUUID()}`, now(), body)),
          },
        })
        const fail = (why: string) => {
          reject(new CallFailed(late.aborted ? `no answer within ${timeout} ms` : why))
          request.destroy()
        }
        request.on('error', (error) => fail(messageOf(error)))
        request.on('close', () => fail('the connection was closed without an answer'))
        request.on('response', (response) => {
          const { statusCode } = response
          if (statusCode !== 200) return fail(`the answer has status ${statusCode}, not 200`)
          readAll(response, maxAnswer, resolve, fail)
        })
        request.end(body)
      })
    },
    close: () => agent.destroy(),
  }
}

function readAll(
  response: http.IncomingMessage,
  most: number,
  done: (text: string) => void,
  fail: (why: string) => void,
): void {
  const chunks: Buffer[] = []
  let length = 0
  response.on('data', (chunk: Buffer) => {
    length += chunk.length
    if (length > most) fail(`the answer has more than ${most} bytes`)
    else chunks.push(chunk)
  })
  response.on('error', (error) => fail(messageOf(error)))
  response.on('end', () => done(Buffer.concat(chunks).toString('utf8')))
}
