import type { Socket } from 'node:net'
import { readClientHello } from './client-hello.ts'
import { readProxyHeader } from './proxy-header.ts'

export interface OpeningOptions {
  /** Whether a PROXY header has to come first. */
  readonly proxyProtocol: boolean
  /** Bytes until the ClientHello is complete. */
  readonly helloBytes: number
}

/** What a connection began with. `silent`: it ended and had not sent a byte of TLS, as health checks do. */
export type Opening =
  | { readonly kind: 'hello'; readonly serverName: string | undefined; readonly source: string | undefined }
  | { readonly kind: 'refused'; readonly reason: 'proxy' | 'not-tls' | 'hello' | 'closed'; readonly detail: string }
  | { readonly kind: 'silent' }

/**
 * Reads a connection up to its ClientHello, which is put back: a tls.Server can take the socket as if nobody had looked. Calls `done`
 * once, unless the socket is destroyed before. Holds at most `helloBytes`, a PROXY header, and one read of the socket.
 */
export function readOpening(socket: Socket, options: OpeningOptions, done: (opening: Opening) => void): void {
  let proxied = !options.proxyProtocol
  let source: string | undefined
  let chunks: Buffer[] = []
  let size = 0
  let need = 1

  function finish(opening: Opening): void {
    socket.off('readable', read)
    socket.off('end', ended)
    chunks = []
    done(opening)
  }

  function ended(): void {
    finish(
      size === 0
        ? { kind: 'silent' }
        : { kind: 'refused', reason: 'closed', detail: 'it ended before its ClientHello' },
    )
  }

  function read(): void {
    const chunk = socket.read() as Buffer | null
    if (chunk === null) return
    chunks.push(chunk)
    size += chunk.length
    // Parsed only when something new can be said, however small the pieces are.
    while (size >= need) {
      const bytes = chunks.length === 1 ? (chunks[0] ?? chunk) : Buffer.concat(chunks)
      if (proxied) return hello(bytes)
      const header = readProxyHeader(bytes)
      if (header.kind === 'refused') return finish({ kind: 'refused', reason: 'proxy', detail: header.detail })
      if (header.kind === 'more') keep(bytes, header.need)
      else {
        proxied = true
        source = header.source
        keep(bytes.subarray(header.length), 1)
      }
    }
  }

  function keep(bytes: Buffer, needed: number): void {
    chunks = bytes.length === 0 ? [] : [bytes]
    size = bytes.length
    need = needed
  }

  function hello(bytes: Buffer): void {
    const found = readClientHello(bytes, options.helloBytes)
    if (found.kind === 'more') return keep(bytes, found.need)
    if (found.kind === 'refused') return finish(found)
    socket.off('readable', read)
    socket.unshift(bytes)
    finish({ kind: 'hello', serverName: found.serverName, source })
  }

  socket.on('readable', read)
  socket.on('end', ended)
}
