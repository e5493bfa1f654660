/**
 * What is wrong with an address that keys are fetched from; undefined when it is fine. `https://`, or `http://` to this machine
 * alone: whoever can change the keys on their way can be anybody.
 */
export function complainAboutAddress(text: string): string | undefined {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol)) return 'must be an address: https://host/path'
  if (url.username !== '' || url.password !== '') return 'must not hold a user or password'
  if (url.hash !== '') return 'must not hold a "#"'
  if (url.protocol === 'http:' && !isLoopback(url.hostname))
    return 'must begin with https:// (http:// is only for addresses of this machine)'
  return undefined
}

/** A URL's host name: the parser has written any IPv4 address as four numbers, and IPv6 in its short form. */
function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname)
}
