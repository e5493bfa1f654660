/** An answer of the HTTP door other than 200, thrown by its parts. The message goes to the client: no names of policies, no secrets. */
export class HttpRefusal extends Error {
  override readonly name = 'HttpRefusal'
  readonly status: number
  /** When to come back, for `Retry-After`. */
  readonly afterMs: number | undefined
  constructor(status: number, message: string, afterMs?: number) {
    super(message)
    this.status = status
    this.afterMs = afterMs
  }
}

/** A request that is wrong in itself. */
export function badRequest(message: string): HttpRefusal {
  return new HttpRefusal(400, message)
}

/** The value of `Retry-After`: whole seconds, rounded up, at least one (RFC 9110 §10.2.3). */
export function retryAfter(ms: number): string {
  return String(Math.max(1, Math.ceil(ms / 1000)))
}
