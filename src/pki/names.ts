import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { SluiceError } from '../core/errors.ts'

/** As names of principals (identity/new-identity.ts): safe as file names, in topics and in ARNs. */
const safeName = /^[A-Za-z0-9:_-][A-Za-z0-9:_.-]{0,127}$/

/** A name that a server certificate is valid for: an entry of its subjectAltName. */
export interface HostName {
  readonly type: 'dns' | 'ip'
  readonly value: string
}

/** More would not fit a handshake well, and nobody types them. */
const maxHostNames = 100

/** Throws SluiceError WRONG_USE for a name that isn't safe as a file name. */
export function checkName(what: string, name: string): void {
  if (safeName.test(name)) return
  const allowed = 'letters, digits and any of : _ - . (not first), at most 128'
  throw new SluiceError('WRONG_USE', `${JSON.stringify(name.slice(0, 140))} is not a ${what} name here: use ${allowed}`)
}

/** A DNS name in its one spelling, or undefined where it is none. Underscores are let through: container names have them. */
export function dnsName(text: string): string | undefined {
  const name = text.toLowerCase()
  if (name.length > 253 || isIP(name) !== 0) return undefined
  const label = String.raw`[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?`
  // The last label has a letter: what has none is a mistyped address.
  return new RegExp(String.raw`^(?:\*\.)?(?:${label}\.)*(?=[^.]*[a-z])${label}$`).test(name) ? name : undefined
}

/** An IP address in its one spelling, or undefined where it is none. */
export function ipAddress(text: string): string | undefined {
  const version = text.includes('%') ? 0 : isIP(text)
  if (version !== 6) return version === 4 ? text : undefined
  // The library reads no IPv4 tail; URL writes every IPv6 address in hex, as RFC 5952 has it.
  return URL.parse(`http://[${text}]/`)?.hostname.slice(1, -1)
}

/** Reads `--dns` and `--ip`. Throws SluiceError WRONG_USE with the first that is neither a DNS name nor an address. */
export function hostNames(dns: readonly string[], ip: readonly string[]): readonly HostName[] {
  const names = dns.map((text): HostName => {
    const value = dnsName(text)
    if (value !== undefined) return { type: 'dns', value }
    const instead = ipAddress(text) === undefined ? 'a DNS name in ASCII is needed' : 'say it with --ip'
    throw new SluiceError('WRONG_USE', `${JSON.stringify(text.slice(0, 260))} is not a DNS name: ${instead}`)
  })
  const addresses = ip.map((text): HostName => {
    const value = ipAddress(text)
    if (value !== undefined) return { type: 'ip', value }
    throw new SluiceError('WRONG_USE', `${JSON.stringify(text.slice(0, 100))} is not an IP address`)
  })
  return distinct([...names, ...addresses])
}

/** What Sluice's own server certificates are always for: this machine, by its names on itself and its host name. */
export function namesOfThisMachine(): readonly HostName[] {
  const own = dnsName(hostname())
  return distinct([
    { type: 'dns', value: 'localhost' },
    { type: 'ip', value: '127.0.0.1' },
    { type: 'ip', value: '::1' },
    ...(own === undefined ? [] : [{ type: 'dns', value: own } as const]),
  ])
}

/** DNS names and addresses mixed, as a configuration gives them. Throws SluiceError WRONG_USE. */
export function readHostNames(texts: readonly string[]): readonly HostName[] {
  return hostNames(
    texts.filter((text) => ipAddress(text) === undefined),
    texts.filter((text) => ipAddress(text) !== undefined),
  )
}

/** Each name once, in the order of their first. Throws SluiceError WRONG_USE where there are too many. */
export function distinct(names: readonly HostName[]): readonly HostName[] {
  const byText = new Map(names.map((name) => [`${name.type} ${name.value}`, name]))
  if (byText.size <= maxHostNames) return [...byText.values()]
  throw new SluiceError('WRONG_USE', `a certificate here is for at most ${maxHostNames} names, not ${byText.size}`)
}
