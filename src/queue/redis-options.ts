import { isIP } from 'node:net'
import { SluiceError } from '../core/errors.ts'
import { parseRedisUrl, type RedisHost, type RedisUrl } from '../core/redis-url.ts'
import { takesNoWrites } from './redis-error.ts'

/** PEM texts for a `rediss://` server with a private authority, or one that wants a client certificate. */
export interface RedisTls {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  /** The name that the server's certificate must hold; by default the host that is connected to. */
  readonly servername?: string
}

/** Who asks the sentinels, where they want to know; the URL says it for the Redis itself. */
export interface SentinelUser {
  readonly username?: string
  readonly password?: string
}

/** Longest wait between two attempts to reconnect; short, because every second of it is a second of 503. */
const maxReconnectMs = 1_000

/** After this long without a node that takes no writes the waits begin anew. */
const calmMs = 5_000

/** A worker's connection on which nothing was answered for so long is dead: BullMQ waits for jobs at most 10 s at a time. */
const silentMs = 15_000

/** For a sentinel that hangs: the next one is asked then. */
const sentinelMs = 2_000

/** Where to connect and as whom: the part of ioredis' options that both kinds of connection have. */
export type Target = Server & {
  username?: string
  password?: string
  db?: number
  tls?: RedisTls
  disableClientInfo: true
  /** A node that is still loading answers LOADING, and the next connection may reach another: no waiting for it on this one. */
  enableReadyCheck: false
  retryStrategy(times: number): number
  reconnectOnError(error: Error): boolean
}

type Server = { host: string; port: number } | Sentinels

interface Sentinels {
  sentinels: RedisHost[]
  name: string
  role: 'master'
  sentinelUsername?: string
  sentinelPassword?: string
  sentinelTLS?: RedisTls
  enableTLSForSentinelMode?: true
  sentinelCommandTimeout: number
  sentinelRetryStrategy(times: number): number
}

/** What a Redis URL says. */
export interface RedisAddress {
  readonly target: Target
  /** `redis://host:port/db`, or `redis+sentinel://host:port,host:port/name/db`: no user, no password. */
  readonly label: string
  /** Tells the waits of a node that was left because it takes no writes, and didn't say so in an answer to a command. */
  readonly refused: () => void
}

/**
 * Reads the URL of a Redis (`parseRedisUrl` has its forms). Throws SluiceError CONFIG_INVALID with a text that doesn't hold the URL,
 * for it may hold a password.
 */
export function readRedisUrl(text: string, tls: RedisTls = {}, sentinel: SentinelUser = {}): RedisAddress {
  const url = parseRedisUrl(text)
  if ('complaint' in url) throw new SluiceError('CONFIG_INVALID', `the url of the queue ${url.complaint}`)
  const { username, password, db, secure, hosts, primary } = url
  const [{ host }] = hosts
  const { refused, ...reconnect } = reconnecting()
  const target: Target = {
    ...(primary === undefined ? hosts[0] : sentinelsOf(url, primary, tls, sentinel)),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(db !== undefined && { db }),
    // Behind sentinels the host is known when one is connected to, and is the name that is looked for.
    ...(secure && { tls: { ...(primary === undefined && isIP(host) === 0 && { servername: host }), ...tls } }),
    // Redis 7.0 doesn't know CLIENT SETINFO, and an ACL for it would be refused there whole.
    disableClientInfo: true,
    enableReadyCheck: false,
    ...reconnect,
  }
  return { target, label: labelOf(url), refused }
}

function sentinelsOf({ secure, hosts }: RedisUrl, name: string, tls: RedisTls, user: SentinelUser): Sentinels {
  return {
    sentinels: [...hosts],
    name,
    role: 'master',
    ...(user.username !== undefined && { sentinelUsername: user.username }),
    ...(user.password !== undefined && { sentinelPassword: user.password }),
    ...(secure && { sentinelTLS: tls, enableTLSForSentinelMode: true }),
    sentinelCommandTimeout: sentinelMs,
    sentinelRetryStrategy: waitBefore,
  }
}

/**
 * A node that answers that it takes no writes (a primary that was made a replica, one that loads) is left, and the address is asked
 * anew: behind it may stand another by now. Since such a node takes connections, a connect that succeeds doesn't begin the waits
 * anew; all connections that these options are for wait together, so none of them storms it.
 */
function reconnecting(): Pick<Target, 'retryStrategy' | 'reconnectOnError'> & Pick<RedisAddress, 'refused'> {
  let refusals = 0
  let lastRefusal = -Infinity
  const isCalm = () => performance.now() - lastRefusal > calmMs
  const refused = () => {
    refusals = isCalm() ? 1 : refusals + 1
    lastRefusal = performance.now()
  }
  return {
    refused,
    reconnectOnError(error) {
      if (!takesNoWrites(error)) return false
      refused()
      return true
    },
    retryStrategy: (times) => waitBefore(isCalm() ? times : Math.max(times, refusals)),
  }
}

/** Milliseconds before the so-manieth attempt. */
function waitBefore(times: number): number {
  return Math.min(50 * 2 ** Math.min(times, 10), maxReconnectMs)
}

function labelOf({ secure, hosts, primary, db }: RedisUrl): string {
  const scheme = `redis${secure ? 's' : ''}${primary === undefined ? '' : '+sentinel'}`
  const where = hosts.map(({ host, port }) => `${isIP(host) === 6 ? `[${host}]` : host}:${port}`).join(',')
  const path = [primary, db].filter((part) => part !== undefined).map((part) => `/${part}`)
  return `${scheme}://${where}${path.join('')}`
}

/** For adding and asking: fails at once when Redis is away, and nothing that failed is sent later behind our back. */
export function impatient(target: Target, timeoutMs: number) {
  return {
    ...target,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: timeoutMs,
    // A server that hangs must not be sent more and more that it will do when it wakes.
    socketTimeout: timeoutMs,
    connectTimeout: timeoutMs,
  }
}

/** For BullMQ's workers: they wait for Redis however long it takes. */
export function patient(target: Target) {
  return { ...target, maxRetriesPerRequest: null, connectTimeout: 5_000, socketTimeout: silentMs }
}
