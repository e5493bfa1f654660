/**
 * What the first bytes of a TLS connection say.
 * - `more`: nothing can be said before there are `need` bytes.
 * - `hello`: the ClientHello is complete; `serverName` in lower case where it names one.
 */
export type ClientHello =
  | { readonly kind: 'more'; readonly need: number }
  | { readonly kind: 'hello'; readonly serverName: string | undefined }
  | { readonly kind: 'refused'; readonly reason: 'not-tls' | 'hello'; readonly detail: string }

const handshakeRecord = 22
const clientHello = 1
const serverNameExtension = 0
const hostName = 0
/** A record's header; RFC 8446 §5.1. */
const headerBytes = 5
const longestRecord = 16_384
/** Clients send one; every further one makes us look again from the start. */
const mostRecords = 32

/**
 * Reads the server name out of a ClientHello (RFC 8446 §4.1.2, RFC 6066 §3), which may be split over several records. Looks at
 * nothing else: OpenSSL reads the same bytes again and judges them. `limit` bounds the bytes, record headers included. Never throws.
 */
export function readClientHello(bytes: Buffer, limit: number): ClientHello {
  const fragments: Buffer[] = []
  let joined = 0
  let wanted = Infinity
  for (let at = 0; ;) {
    if (bytes.length > at && bytes[at] !== handshakeRecord) {
      return at === 0
        ? refused('not-tls', 'the first byte is no TLS handshake')
        : refused('hello', 'another record came')
    }
    // The major version has been 3 from SSL 3 to TLS 1.3.
    if (bytes.length > at + 1 && bytes[at + 1] !== 3) return refused('not-tls', 'not a version of TLS')
    if (bytes.length < at + headerBytes) return more(at + headerBytes, limit)
    const length = bytes.readUInt16BE(at + 3)
    // RFC 8446 §5.1: no empty fragments of handshake messages.
    if (length === 0 || length > longestRecord) return refused('hello', `a record of ${length} bytes`)
    const end = at + headerBytes + length
    if (bytes.length < end) return more(end, limit)
    if (fragments.length === mostRecords) return refused('hello', `a ClientHello in more than ${mostRecords} records`)
    fragments.push(bytes.subarray(at + headerBytes, end))
    joined += length
    if (wanted === Infinity && joined >= 4) {
      const head = fragments.length === 1 ? fragments[0] : Buffer.concat(fragments)
      if (head?.[0] !== clientHello) return refused('hello', 'not a ClientHello')
      wanted = 4 + head.readUIntBE(1, 3)
      if (wanted > limit) return refused('hello', `a ClientHello of ${wanted} bytes`)
    }
    if (joined >= wanted) {
      const message = fragments.length === 1 ? fragments[0] : Buffer.concat(fragments)
      return serverNameOf(message?.subarray(4, wanted) ?? Buffer.alloc(0))
    }
    at = end
  }
}

function more(need: number, limit: number): ClientHello {
  return need > limit ? refused('hello', `a ClientHello of more than ${limit} bytes`) : { kind: 'more', need }
}

function refused(reason: 'not-tls' | 'hello', detail: string): ClientHello {
  return { kind: 'refused', reason, detail }
}

/** Host names as certificates have them, and the `_` that container networks like. */
const hostNamePattern = /^(?=.{1,253}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/

function serverNameOf(body: Buffer): ClientHello {
  // Version and random, then three vectors: session id, cipher suites, compression methods.
  let at = 2 + 32
  for (const sizeBytes of [1, 2, 1]) {
    if (at + sizeBytes > body.length) return cut()
    at += sizeBytes + body.readUIntBE(at, sizeBytes)
  }
  if (at === body.length) return { kind: 'hello', serverName: undefined }
  if (at + 2 > body.length) return cut()
  const end = at + 2 + body.readUInt16BE(at)
  if (end > body.length) return cut()
  at += 2
  let serverName: string | undefined
  while (at < end) {
    if (at + 4 > end) return cut()
    const type = body.readUInt16BE(at)
    const from = at + 4
    at = from + body.readUInt16BE(at + 2)
    if (at > end) return cut()
    if (type !== serverNameExtension) continue
    if (serverName !== undefined) return refused('hello', 'two server names')
    serverName = nameIn(body.subarray(from, at))
    if (serverName === undefined) return refused('hello', 'the server name is not a host name')
  }
  return { kind: 'hello', serverName }
}

function cut(): ClientHello {
  return refused('hello', 'the ClientHello is malformed')
}

/** The one name of the extension: a list with its length, of a type, a length and a name. More than one name was never defined. */
function nameIn(extension: Buffer): string | undefined {
  if (extension.length < 5 || extension.readUInt16BE(0) !== extension.length - 2 || extension[2] !== hostName) return
  if (extension.readUInt16BE(3) !== extension.length - 5) return
  const name = extension.toString('latin1', 5).toLowerCase()
  return hostNamePattern.test(name) ? name : undefined
}
