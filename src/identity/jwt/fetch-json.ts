import * as http from 'node:http'
import * as https from 'node:https'

export interface FetchOptions {
  /** Ends it, whatever stage it is in. */
  readonly signal: AbortSignal
  /** Bytes of an answer that are read; a longer one is an error. */
  readonly maxBytes: number
  /** Trusted authorities as PEM text, instead of the system's. */
  readonly ca?: string | undefined
}

/**
 * The JSON at an address. Not `fetch`: it takes no authorities of one's own without a package more. Redirects are never followed,
 * the certificate is checked whatever the environment says, and an error repeats nothing of the answer.
 */
export function fetchJson(address: string, { signal, maxBytes, ca }: FetchOptions): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const common = {
      signal,
      // A connection of its own: keys are fetched once in minutes.
      agent: false,
      maxHeaderSize: 16_384,
      headers: { accept: 'application/json, application/jwk-set+json', 'accept-encoding': 'identity' },
    } as const
    const url = new URL(address)
    const request =
      url.protocol === 'https:'
        ? https.get(url, { ...common, rejectUnauthorized: true, ...(ca !== undefined && { ca }) })
        : http.get(url, common)
    request.on('error', reject)
    request.on('response', (response) => {
      const chunks: Buffer[] = []
      let length = 0
      const fail = (message: string) => {
        reject(new Error(message))
        response.destroy()
      }
      if (response.statusCode !== 200) return fail(complaintAbout(response.statusCode ?? 0))
      response.on('data', (chunk: Buffer) => {
        length += chunk.length
        if (length > maxBytes) fail(`the answer is longer than ${maxBytes} bytes`)
        else chunks.push(chunk)
      })
      response.on('error', reject)
      response.on('end', () => {
        try {
          resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')))
        } catch {
          // Its own message quotes the text.
          reject(new Error('the answer is not JSON'))
        }
      })
    })
  })
}

function complaintAbout(status: number): string {
  const redirect = status >= 300 && status < 400 ? '; redirects are not followed, so name the address it points to' : ''
  return `the answer has status ${status}, and 200 is wanted${redirect}`
}
