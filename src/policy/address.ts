import { BlockList, isIP } from 'node:net'

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
  return version === 0 ? undefined : { text: bare, family: version === 4 ? 'ipv4' : 'ipv6' }
}

/** The addresses of `192.0.2.0/24`, `2001:db8::/32`, or of a single address. Undefined where the text is neither. */
export function parseAddressRange(text: string): ((address: Address) => boolean) | undefined {
  const { base, bits } = /^(?<base>[^/%]+)(?:\/(?<bits>\d{1,3}))?$/.exec(text)?.groups ?? {}
  const address = base === undefined ? undefined : parseAddress(base)
  if (address === undefined) return undefined
  const longest = address.family === 'ipv4' ? 32 : 128
  const length = bits === undefined ? longest : Number(bits)
  if (length > longest) return undefined
  const list = new BlockList()
  list.addSubnet(address.text, length, address.family)
  return (given) => list.check(given.text, given.family)
}
