import { BlockList, isIP, SocketAddress } from 'node:net'

/** How an IPv6 address that holds an IPv4 one is spelled (RFC 4291 §2.5.5.2). */
const mapped = /^::ffff:(?<inside>\d+\.\d+\.\d+\.\d+)$/

/** An IPv4 or IPv6 address. An IPv4 address inside IPv6 (`::ffff:192.0.2.1`, as dual-stack sockets say it) is matched as IPv4. */
export interface Address {
  readonly text: string
  readonly family: 'ipv4' | 'ipv6'
}

/** Undefined where the text is no address. A zone (`fe80::1%eth0`) is left out: it means something on one machine only. */
export function parseAddress(text: string): Address | undefined {
  const zone = text.indexOf('%')
  const bare = zone === -1 ? text : text.slice(0, zone)
  const version = isIP(bare)
  if (version === 4) return { text: bare, family: 'ipv4' }
  if (version === 0) return undefined
  const { address } = new SocketAddress({ address: bare, family: 'ipv6' })
  const inside = mapped.exec(address)?.groups?.['inside']
  return inside === undefined ? { text: address, family: 'ipv6' } : { text: inside, family: 'ipv4' }
}

/** An address in its one usual spelling; any other text as it is. */
export function plainAddress(text: string): string {
  return text.includes(':') ? (parseAddress(text)?.text ?? text) : text
}

/**
 * The addresses of `192.0.2.0/24`, `2001:db8::/32`, or of a single address. Undefined where the text is neither. A range holds
 * addresses of its own family only: `::/0` is everybody who came over IPv6.
 */
export function parseAddressRange(text: string): ((address: Address) => boolean) | undefined {
  const { base = '', bits } = /^(?<base>[^/%]+)(?:\/(?<bits>\d{1,3}))?$/.exec(text)?.groups ?? {}
  const written = isIP(base)
  const address = parseAddress(base)
  if (address === undefined) return undefined
  const longest = written === 4 ? 32 : 128
  const given = bits === undefined ? longest : Number(bits)
  if (given > longest) return undefined
  // `::ffff:10.0.0.0/104` is 10.0.0.0/8; a shorter prefix reaches beyond the addresses that are IPv4 ones.
  const inside = written === 6 && address.family === 'ipv4' && given >= 96
  const range: Address = written === 6 && !inside ? { text: base, family: 'ipv6' } : address
  const list = new BlockList()
  list.addSubnet(range.text, inside ? given - 96 : given, range.family)
  return ({ text, family }) => family === range.family && list.check(text, family)
}
