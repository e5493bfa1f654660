import { hash } from 'node:crypto'
import { isIPv4, isIPv6 } from 'node:net'
import type { HttpFacts, Presented } from '../../core/access.ts'

/** What somebody says they are, before it is proved. */
export interface Claims {
  /** Names that failures are counted for: a principal's, an access key's id, a certificate's fingerprint. */
  readonly names: readonly string[]
  /** A hash, under a key of this process, of a credential that names nobody (a bearer token, a JWT): others can't claim it, so it is never counted, only recognized. */
  readonly credential?: string
}

/** Principals have at most 128 characters; longer names share a bucket with each other, and with nobody. */
const maxName = 128

/** Reads claims; `key` is of this process. Never throws, whatever was presented. */
export function claimsOf({ username, password, bearer, tls, http }: Presented, key: Buffer): Claims {
  const names: string[] = []
  const token = bearer ?? (password !== undefined && isJwt(password) ? password : undefined)
  // A user name without a password proves nothing: devices with certificates put the name of their SDK there (aws-security §2).
  // With a JWT it is anything, often the same for all.
  if (password !== undefined && token === undefined) names.push(principalIn(username))
  if (http !== undefined) names.push(...namesIn(http))
  if (tls?.certificate !== undefined) names.push(fingerprintOf(tls.certificate))
  return {
    names: [...new Set(names.filter((name) => name !== ''))],
    ...(token !== undefined && { credential: hash('sha256', Buffer.concat([key, bytesOf(token)]), 'base64') }),
  }
}

function namesIn({ headers, query }: HttpFacts): readonly string[] {
  const authorization = (headers['authorization'] ?? '').slice(0, 1024)
  const basic = /^basic +(?<text>[A-Za-z0-9+/=]+)/i.exec(authorization)?.groups?.['text']
  const accessKey =
    /^AWS4-HMAC-SHA256 Credential=(?<id>[A-Za-z0-9]{1,128})\//.exec(authorization) ??
    // As SigV4 reads it: names of parameters may be percent-encoded too.
    /^(?<id>[A-Za-z0-9]{1,128})\//.exec(query === '' ? '' : (new URLSearchParams(query).get('X-Amz-Credential') ?? ''))
  return [
    basic === undefined ? '' : principalIn(Buffer.from(basic, 'base64').toString('utf8').split(':', 1)[0]),
    accessKey?.groups?.['id'] ?? '',
    principalIn(headers['x-sluice-principal']),
  ]
}

/** What stands after `?` in a user name is for a custom authorizer, and may be a token (aws-security §5). */
function principalIn(username: string | undefined): string {
  return (username ?? '').slice(0, maxName).split('?', 1)[0] ?? ''
}

function bytesOf(token: string | Buffer): Buffer {
  return typeof token === 'string' ? Buffer.from(token, 'utf8') : token
}

function isJwt(password: Buffer): boolean {
  // `eyJ` is `{"` in base64url.
  return /^eyJ[\w-]*\.[\w-]+\.[\w-]*$/.test(password.toString('latin1'))
}

/** A connection's certificate is the same object for all that it asks. */
const fingerprints = new WeakMap<Buffer, string>()

function fingerprintOf(der: Buffer): string {
  let fingerprint = fingerprints.get(der)
  if (fingerprint === undefined) {
    fingerprint = hash('sha256', der, 'hex')
    fingerprints.set(der, fingerprint)
  }
  return fingerprint
}

/** An address that failures are counted for. */
export interface Address {
  /** An IPv4 address, or the /64 of an IPv6 address: a customer of a provider has all of one, at least. */
  readonly text: string
  /** Of this machine, where a proxy may stand in front of many; or not known. */
  readonly local: boolean
}

/** Reads a source address; what is none is taken as one that is not known. */
export function addressOf(sourceIp: string | undefined): Address {
  const plain = sourceIp?.split('%', 1)[0] ?? ''
  if (isIPv4(plain)) return { text: plain, local: plain.startsWith('127.') }
  if (!isIPv6(plain)) return { text: 'unknown', local: true }
  const groups = groupsOf(plain)
  // An IPv4 address that came over an IPv6 socket (RFC 4291 §2.5.5.2).
  if (groups.slice(0, 6).join(':') === '0:0:0:0:0:65535') return addressOf(dotted(groups.slice(6)))
  const prefix = groups.slice(0, 4).map((group) => group.toString(16))
  return { text: `${prefix.join(':')}::/64`, local: groups.join(':') === '0:0:0:0:0:0:0:1' }
}

/** The eight numbers of a valid IPv6 address. */
function groupsOf(text: string): readonly number[] {
  const [head, tail] = text.split('::').map(numbersOf)
  if (head === undefined || tail === undefined) return head ?? []
  return [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => 0), ...tail]
}

/** The last may be an IPv4 address, which stands for two. */
function numbersOf(part: string): readonly number[] {
  if (part === '') return []
  return part.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)]
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number)
    return [a * 256 + b, c * 256 + d]
  })
}

function dotted(groups: readonly number[]): string {
  return groups.flatMap((group) => [group >> 8, group & 0xff]).join('.')
}
