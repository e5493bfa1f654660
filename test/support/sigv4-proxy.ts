import type { AwsKeys } from '../../src/core/credential.ts'
import type { Scope } from './cleanup.ts'
import { type Answer, type Received, startHttpTarget } from './http-target.ts'
import { verifySignature } from './sigv4.ts'

export interface SigV4Proxy {
  readonly url: string
  /** Who may come through; may be changed. */
  keys: readonly AwsKeys[]
  /** Answers the next requests, before they are looked at; undefined lets one through. */
  readonly faults: (Answer | undefined)[]
  readonly received: readonly Received[]
  readonly stop: () => Promise<void>
}

/**
 * A test double of the door of SQS, in front of a real fauxqs: it checks signatures, which fauxqs does not, so that a test
 * can tell the right credential from a wrong one; and it throttles and denies, which fauxqs can't be told to.
 */
export async function startSigV4Proxy(
  scope: Scope,
  options: { readonly to: string; readonly keys: readonly AwsKeys[] },
): Promise<SigV4Proxy> {
  const target = await startHttpTarget(scope)
  const proxy: SigV4Proxy = {
    url: target.url,
    keys: options.keys,
    faults: [],
    received: target.received,
    stop: target.stop,
  }
  target.answer = async (request) => {
    const fault = proxy.faults.shift()
    if (fault !== undefined) return fault
    const verified = await verifySignature({ ...request, body: request.body.toString('utf8') }, (id) =>
      proxy.keys.find(({ accessKeyId }) => accessKeyId === id),
    )
    if ('code' in verified) {
      // As AWS: the first line says it, and to a wrong signature the request as understood follows, token and all.
      const token = String(request.headers['x-amz-security-token'])
      return awsFault(
        403,
        verified.code,
        `The request was refused.\n\nThe Canonical String was\nx-amz-security-token:${token}`,
      )
    }
    const { host: _host, connection: _connection, 'content-length': _length, ...headers } = request.headers
    const answer = await fetch(new URL(request.url, options.to), {
      method: request.method,
      headers: headers as Record<string, string>,
      body: new Uint8Array(request.body),
    })
    const {
      'content-length': _,
      'transfer-encoding': __,
      connection: ___,
      ...kept
    } = Object.fromEntries(answer.headers)
    return { status: answer.status, headers: kept, body: Buffer.from(await answer.arrayBuffer()) }
  }
  return proxy
}

/** An error in the form of AWS JSON 1.0, with the code of the older query protocol beside it, as SQS answers. */
export function awsFault(status: number, code: string, message = 'no'): Answer {
  const fault = status < 500 ? 'Sender' : 'Receiver'
  return {
    status,
    headers: { 'content-type': 'application/x-amz-json-1.0', 'x-amzn-query-error': `${code};${fault}` },
    body: JSON.stringify({ __type: `com.amazonaws.sqs#${code}`, message }),
  }
}
