import { createServer, type IncomingMessage } from 'node:http'
import type { Scope } from './cleanup.ts'
import { listening } from './listening.ts'

export interface Receiver {
  readonly url: string
  /** Times each body was received, by its text. */
  readonly seen: Map<string, number>
  /** What it answers from now on; 200 at first. */
  answer(status: number, headers?: Readonly<Record<string, string>>): void
  readonly requests: { readonly path: string; readonly headers: IncomingMessage['headers']; readonly body: string }[]
}

/** A real HTTP server that takes what the `http` worker sends: one JSON message a request, or an array of them. */
export async function startReceiver(scope: Scope, options: { readonly delayMs?: number } = {}): Promise<Receiver> {
  const seen = new Map<string, number>()
  const requests: Receiver['requests'] = []
  let reply: { status: number; headers: Readonly<Record<string, string>> } = { status: 200, headers: {} }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('error', () => {})
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8')
      requests.push({ path: request.url ?? '', headers: request.headers, body })
      const finish = () => {
        if (reply.status < 300) for (const text of partsOf(body)) seen.set(text, (seen.get(text) ?? 0) + 1)
        response.writeHead(reply.status, reply.headers).end()
      }
      if (options.delayMs === undefined) finish()
      else setTimeout(finish, options.delayMs)
    })
  })
  const port = await listening(server, scope)
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    requests,
    answer(status, headers = {}) {
      reply = { status, headers }
    },
  }
}

function partsOf(body: string): readonly string[] {
  if (!body.startsWith('[')) return [body]
  return (JSON.parse(body) as unknown[]).map((part) => JSON.stringify(part))
}
