/** The address of the far end as policies compare it: an IPv4 address that came over an IPv6 socket is written as IPv4. */
export function sourceIpOf(remoteAddress: string | undefined): string | undefined {
  return remoteAddress?.startsWith('::ffff:') && remoteAddress.includes('.') ? remoteAddress.slice(7) : remoteAddress
}
