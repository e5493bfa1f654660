import type { Readable } from 'node:stream'
import { badRequest, HttpRefusal } from './http-refusal.ts'

/** Counts the bytes of bodies in hand over all requests, so that many clients together can't make us hold more than this. */
export class BodyBudget {
  readonly #limit: number
  #used = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Reserves room for one body; throws HttpRefusal 503 when there is none. A lone body always fits. */
  reserve(bytes: number): void {
    if (this.#used > 0 && this.#used + bytes > this.#limit)
      throw new HttpRefusal(503, 'too many requests in hand', 1_000)
    this.#used += bytes
  }

  release(bytes: number): void {
    this.#used -= bytes
  }
}

/** The most that a body with this Content-Length can come to; throws HttpRefusal 413 where that is over the limit. */
export function boundOfBody(contentLength: string | undefined, limit: number): number {
  if (contentLength === undefined) return limit
  const declared = Number(contentLength)
  if (declared > limit) throw tooLarge(limit)
  return declared
}

/**
 * Reads a body of at most `limit` bytes, chunked or not. What comes after the limit is thrown away as it arrives, so that the
 * client gets to read its 413. Throws HttpRefusal.
 */
export function readBody(stream: Readable | undefined, limit: number): Promise<Buffer> {
  if (stream === undefined) return Promise.resolve(Buffer.alloc(0))
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    const onData = (chunk: Buffer): void => {
      length += chunk.length
      if (length <= limit) return void chunks.push(chunk)
      stop()
      stream.resume()
      reject(tooLarge(limit))
    }
    const onEnd = (): void => {
      stop()
      const [first] = chunks
      resolve(chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks, length))
    }
    const onCut = (): void => {
      stop()
      reject(badRequest('the request ended before its body was complete'))
    }
    const stop = (): void => {
      stream.off('data', onData).off('end', onEnd).off('close', onCut).off('error', onCut)
      stream.on('error', () => {})
    }
    stream.on('data', onData).on('end', onEnd).on('close', onCut).on('error', onCut)
  })
}

function tooLarge(limit: number): HttpRefusal {
  return new HttpRefusal(413, `the body has more than the ${limit} bytes that are allowed`)
}
