import { isIPv4, isIPv6, SocketAddress } from 'node:net'

/**
 * What a load balancer says in front of a connection.
 * - `more`: nothing can be said before there are `need` bytes.
 * - `header`: it has `length` bytes; `source` is the client's address, absent where the balancer speaks for itself or doesn't know.
 */
export type ProxyHeader =
  | { readonly kind: 'more'; readonly need: number }
  | { readonly kind: 'header'; readonly length: number; readonly source: string | undefined }
  | { readonly kind: 'refused'; readonly detail: string }

const signatureV1 = Buffer.from('PROXY ')
const signatureV2 = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
/** The longest line of version 1, CRLF included, by the specification. */
const longestV1 = 107
/** Version 2 could say 64 KiB; addresses take 36 bytes and what clouds add some hundreds. */
const longestV2 = 4096

/**
 * Reads a PROXY protocol header, version 1 or 2 (haproxy.org, proxy-protocol.txt). Our own, because proxy-protocol-js takes an
 * incomplete header for a wrong one, hands on the TLVs of version 2 as if they were the client's bytes, and checks neither
 * addresses nor ports of version 1. Never throws.
 */
export function readProxyHeader(bytes: Buffer): ProxyHeader {
  if (startsLike(bytes, signatureV1)) return readV1(bytes)
  if (startsLike(bytes, signatureV2)) return readV2(bytes)
  return refused('there is no PROXY header')
}

/** Whether bytes are the beginning of a signature, or begin with it. */
function startsLike(bytes: Buffer, signature: Buffer): boolean {
  const length = Math.min(bytes.length, signature.length)
  return bytes.compare(signature, 0, length, 0, length) === 0
}

function refused(detail: string): ProxyHeader {
  return { kind: 'refused', detail }
}

const lineV1 =
  /^PROXY (?:UNKNOWN(?: .*)?|(?<family>TCP[46]) (?<source>\S+) (?<target>\S+) (?<from>\d{1,5}) (?<to>\d{1,5}))$/

function readV1(bytes: Buffer): ProxyHeader {
  const end = bytes.subarray(0, longestV1).indexOf('\r\n')
  if (end < 0) {
    if (bytes.length >= longestV1) return refused('the PROXY line is too long')
    return { kind: 'more', need: bytes.length + 1 }
  }
  const groups = lineV1.exec(bytes.toString('latin1', 0, end))?.groups
  if (groups === undefined) return refused('the PROXY line is malformed')
  const { family, source = '', target = '', from, to } = groups
  const length = end + 2
  if (family === undefined) return { kind: 'header', length, source: undefined }
  const isAddress = family === 'TCP4' ? isIPv4 : isIPv6
  // A zone (`fe80::1%eth0`) means something on the balancer only.
  const valid = isAddress(source) && isAddress(target) && !source.includes('%') && Number(from) < 65_536
  if (!valid || Number(to) >= 65_536) return refused('the PROXY line has addresses or ports that are not valid')
  return { kind: 'header', length, source: family === 'TCP4' ? source : canonical(source) }
}

const commands = { local: 0x20, proxy: 0x21 } as const
const families = { unspecified: 0x00, tcp4: 0x11, tcp6: 0x21, unix: 0x31 } as const

function readV2(bytes: Buffer): ProxyHeader {
  if (bytes.length < 16) return { kind: 'more', need: 16 }
  const [command, family] = [bytes[12], bytes[13]]
  if (command !== commands.local && command !== commands.proxy) return refused('the PROXY header has no known command')
  const length = 16 + bytes.readUInt16BE(14)
  if (length > longestV2) return refused('the PROXY header is too long')
  if (bytes.length < length) return { kind: 'more', need: length }
  // A health check of the balancer, or what has no address: the far end of the connection counts.
  const spoken = command === commands.proxy && family !== families.unspecified && family !== families.unix
  if (!spoken) return { kind: 'header', length, source: undefined }
  if (family !== families.tcp4 && family !== families.tcp6) return refused('the PROXY header is not about TCP')
  if (length < 16 + (family === families.tcp4 ? 12 : 36)) return refused('the PROXY header is too short')
  const source = family === families.tcp4 ? bytes.subarray(16, 20).join('.') : textOfIPv6(bytes.subarray(16, 32))
  return { kind: 'header', length, source }
}

function textOfIPv6(address: Buffer): string {
  return canonical((address.toString('hex').match(/.{4}/g) ?? []).join(':'))
}

/** The shortest form, RFC 5952. */
function canonical(address: string): string {
  return new SocketAddress({ address, family: 'ipv6' }).address
}
