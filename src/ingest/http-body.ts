import type { IncomingHttpHeaders } from 'node:http'
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

/** The body of one request: read at most once, when somebody asks, and counted into the budget until it is let go. */
export class RequestBody {
  readonly #request: { readonly headers: IncomingHttpHeaders; readonly stream: Readable | undefined }
  readonly #limit: number
  readonly #budget: BodyBudget
  #reading: Promise<Buffer> | undefined
  #reserved: { readonly budget: BodyBudget; readonly bytes: number } | undefined
  /** Why it could not be read, if it could not. */
  failure: unknown

  constructor(
    request: { readonly headers: IncomingHttpHeaders; readonly stream: Readable | undefined },
    limit: number,
    budget: BodyBudget,
  ) {
    this.#request = request
    this.#limit = limit
    this.#budget = budget
  }

  /**
   * All of it; throws HttpRefusal where it is encoded, too large, breaks off, or there is no room now. `budget` is where the first who
   * asks wants it counted, instead of where bodies are.
   */
  read(budget = this.#budget): Promise<Buffer> {
    this.#reading ??= this.#read(budget).catch((error: unknown) => {
      this.failure = error
      throw error
    })
    return this.#reading
  }

  release(): void {
    this.#reserved?.budget.release(this.#reserved.bytes)
    this.#reserved = undefined
  }

  async #read(budget: BodyBudget): Promise<Buffer> {
    const { headers, stream } = this.#request
    const encoding = headers['content-encoding']
    if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
      throw new HttpRefusal(415, 'Content-Encoding is not supported; send the bytes as they are')
    }
    const bound = boundOfBody(headers['content-length'], this.#limit)
    budget.reserve(bound)
    this.#reserved = { budget, bytes: bound }
    return readBody(stream, this.#limit)
  }
}
