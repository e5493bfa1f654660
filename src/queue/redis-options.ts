import { isIP } from 'node:net'
import { SluiceError } from '../core/errors.ts'

/** PEM texts for a `rediss://` server with a private authority, or one that wants a client certificate. */
export interface RedisTls {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  /** The name that the server's certificate must hold; by default the host of the URL. */
  readonly servername?: string
}

/** Longest wait between two attempts to reconnect; short, because every second of it is a second of 503. */
const maxReconnectMs = 1_000

/** Where to connect and as whom: the part of ioredis' options that both kinds of connection have. */
export interface Target {
  host: string
  port: number
  username?: string
  password?: string
  db?: number
  tls?: RedisTls
  disableClientInfo: true
  retryStrategy(times: number): number
}

/** What a Redis URL says. */
export interface RedisAddress {
  readonly target: Target
  /** `redis://host:port/db`: no user, no password. */
  readonly label: string
}

/**
 * Reads `redis://[user[:password]@]host[:port][/db]` or `rediss://…`. Throws SluiceError CONFIG_INVALID with a text that
 * doesn't hold the URL, for it may hold a password.
 */
export function readRedisUrl(text: string, tls: RedisTls = {}): RedisAddress {
  const url = URL.parse(text)
  if (url === null || !/^rediss?:$/.test(url.protocol) || url.hostname === '') {
    throw new SluiceError(
      'CONFIG_INVALID',
      'the queue is not a Redis URL; write redis://host:6379 or rediss://host:6379',
    )
  }
  const db = url.pathname.slice(1)
  if (!/^\d*$/.test(db)) throw new SluiceError('CONFIG_INVALID', 'the path of a Redis URL is the number of a database')
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const secure = url.protocol === 'rediss:'
  const target: Target = {
    host,
    port: url.port === '' ? 6379 : Number(url.port),
    ...(url.username !== '' && { username: decodeURIComponent(url.username) }),
    ...(url.password !== '' && { password: decodeURIComponent(url.password) }),
    ...(db !== '' && { db: Number(db) }),
    ...(secure && { tls: { ...(isIP(host) === 0 && { servername: host }), ...tls } }),
    // Redis 7.0 doesn't know CLIENT SETINFO, and an ACL for it would be refused there whole.
    disableClientInfo: true,
    retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 10), maxReconnectMs),
  }
  return { target, label: `${url.protocol}//${url.hostname}:${target.port}${db === '' ? '' : `/${db}`}` }
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
  return { ...target, maxRetriesPerRequest: null, connectTimeout: 5_000 }
}
