/** What the URL of a Redis says; nothing in it is looked up. */
export interface RedisUrl {
  /** Over TLS. */
  readonly secure: boolean
  /** The server; or the sentinels, where `primary` is there. */
  readonly hosts: readonly [RedisHost, ...RedisHost[]]
  /** The name under which the sentinels know the primary. */
  readonly primary?: string
  /** Of the Redis itself, never of the sentinels. */
  readonly username?: string
  readonly password?: string
  readonly db?: number
}

export interface RedisHost {
  /** A name or an address; an IPv6 one without brackets. */
  readonly host: string
  readonly port: number
}

/** Whether two texts name the same queue, whoever asks and however; names are not looked up. */
export function isSameRedis(one: string, other: string): boolean {
  return labelOfRedis(one) === labelOfRedis(other)
}

/** Where a Redis is, for people: hosts, the name of the primary where there are sentinels, the database; nothing secret. */
export function labelOfRedis(text: string): string {
  const url = parseRedisUrl(text)
  if ('complaint' in url) return text === 'embedded' ? text : 'an address that cannot be read'
  const hosts = url.hosts.map(({ host, port }) => `${host}:${port}`).join(',')
  return [hosts, ...(url.primary === undefined ? [] : [url.primary]), url.db ?? 0].join('/')
}

const single = /^(rediss?):\/\/(?:([^/?#]*)@)?([^/?#@]+)(?:\/(\d*))?$/
const watched = /^(rediss?)\+sentinel:\/\/(?:([^/?#]*)@)?([^/?#@]+)(?:\/([^/?#]*))?(?:\/(\d*))?$/

/**
 * Reads `redis://[user[:password]@]host[:port][/db]` or `redis+sentinel://[user[:password]@]host[:port][,host[:port]…]/name[/db]`; with
 * `rediss` over TLS. Gives what is wrong as a text that quotes nothing of it, for it may hold a password.
 */
export function parseRedisUrl(text: string): RedisUrl | { readonly complaint: string } {
  const [, scheme, credential, hosts = '', name, db] = partsOf(text) ?? []
  if (scheme === undefined) {
    const forms = 'redis://host:6379, rediss://host:6379, or redis+sentinel://host:26379,host:26379/name'
    return { complaint: `must be "embedded" or the address of a Redis: ${forms}` }
  }
  if (name === '')
    return { complaint: 'must name the primary, as its sentinels do: redis+sentinel://host:26379,host:26379/name' }
  const [first, ...others] = hosts.split(',').map((host) => hostOf(host, name === undefined ? 6379 : 26379))
  if (first === undefined || others.includes(undefined) || (name === undefined && others.length > 0))
    return {
      complaint:
        'holds a host that is none: write host, host:port or [address]:port, and several only for redis+sentinel://',
    }
  try {
    const [username, password] = credentialOf(credential)
    return {
      secure: scheme === 'rediss',
      hosts: [first, ...others.filter((host) => host !== undefined)],
      ...(name !== undefined && { primary: decodeURIComponent(name) }),
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      ...(db !== undefined && db !== '' && { db: Number(db) }),
    }
  } catch {
    return { complaint: 'holds a "%" that is not part of a percent-encoding; write it as %25' }
  }
}

/** Scheme, credential, hosts, name of the primary, database. */
function partsOf(text: string): readonly (string | undefined)[] | undefined {
  const one = single.exec(text)
  if (one !== null) return [one[0], one[1], one[2], one[3], undefined, one[4]]
  const several = watched.exec(text)
  return several === null ? undefined : [...several.slice(0, 4), several[4] ?? '', several[5]]
}

function hostOf(text: string, fallback: number): RedisHost | undefined {
  const [, address, name, port] = /^(?:\[([\da-f:.]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/i.exec(text) ?? []
  const host = address ?? name
  const number = port === undefined ? fallback : Number(port)
  return host === undefined || number < 1 || number > 65_535 ? undefined : { host, port: number }
}

/** A user name may be empty: then the password is that of the user `default`. */
function credentialOf(text = ''): readonly [username: string | undefined, password: string | undefined] {
  const colon = text.indexOf(':')
  const [username, password] = colon === -1 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)]
  const decoded = (part: string) => (part === '' ? undefined : decodeURIComponent(part))
  return [decoded(username), decoded(password)]
}
