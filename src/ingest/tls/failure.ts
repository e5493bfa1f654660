/**
 * Why a connection did not become one, as metrics count it.
 * - `full`: no room. - `timeout`: too slow. - `closed`: the client went away.
 * - `proxy`: no PROXY header where one has to be, or a malformed one. - `not-tls`: another protocol. - `hello`: a malformed or oversized ClientHello.
 * - `server-name`: no server name, or none of ours. - `version`, `cipher`, `alpn`: nothing in common.
 * - `alert`: the client refused us, mostly because it doesn't trust our certificate. - `handshake`: anything else.
 */
export type TlsFailure =
  | 'full'
  | 'timeout'
  | 'closed'
  | 'proxy'
  | 'not-tls'
  | 'hello'
  | 'server-name'
  | 'version'
  | 'cipher'
  | 'alpn'
  | 'alert'
  | 'handshake'

const byCode: ReadonlyMap<string, TlsFailure> = new Map([
  ['ECONNRESET', 'closed'],
  ['EPIPE', 'closed'],
  ['ERR_TLS_HANDSHAKE_TIMEOUT', 'timeout'],
  ['ERR_SSL_NO_SHARED_CIPHER', 'cipher'],
  ['ERR_SSL_UNSUPPORTED_PROTOCOL', 'version'],
  ['ERR_SSL_UNKNOWN_PROTOCOL', 'version'],
  ['ERR_SSL_VERSION_TOO_LOW', 'version'],
  ['ERR_SSL_NO_APPLICATION_PROTOCOL', 'alpn'],
])

/** What OpenSSL's or the socket's error means. Alerts that came from the far side have `ALERT` in their code. */
export function failureOf(error: unknown): { readonly reason: TlsFailure; readonly detail: string } {
  const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : 'unknown'
  return { reason: byCode.get(code) ?? (code.includes('ALERT') ? 'alert' : 'handshake'), detail: code }
}

/** A fatal alert `unrecognized_name` in a plain record (RFC 6066 §3, RFC 8446 §6.2): what we say before TLS has begun. */
export const unrecognizedName = Buffer.from([21, 3, 3, 0, 2, 2, 112])
