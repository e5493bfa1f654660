import type { JWTVerifyGetKey } from 'jose'
import { messageOf } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { complainAboutAddress } from './address.ts'
import { fetchJson } from './fetch-json.ts'
import { isAddress, type IssuerSettings } from './issuer.ts'

/** Where keys come from. Two entries that say the same here share their keys, also across reloads. */
export interface KeySource {
  readonly issuer: string
  /** An address, the text of a JWK Set, or undefined: OpenID Connect Discovery. */
  readonly jwks?: string | undefined
  readonly ca?: string | undefined
}

/** The public keys of an issuer. */
export interface KeySet {
  /** Finds the key for a token's header, for jose. Rejects where there is none. */
  readonly find: JWTVerifyGetKey
  close(): void
}

/** All in milliseconds. */
export interface KeySetTimes {
  /** After keys came, the next fetch is at least so much later, however many unknown keys tokens name. */
  readonly cooldown: number
  /** After a failure. Shorter: nobody gets in meanwhile, or only by keys we have. */
  readonly retry: number
  /** Age at which keys are fetched anew: a key that the issuer has withdrawn is good for so long. */
  readonly fresh: number
  /** Age up to which they are used while the issuer is away. */
  readonly stale: number
  /** For one fetch, with discovery. */
  readonly timeout: number
}

/** `cooldown`, `fresh` and `timeout` are those of jose's own remote key sets. */
export const keySetTimes: KeySetTimes = {
  cooldown: 30_000,
  retry: 5_000,
  fresh: 600_000,
  stale: 86_400_000,
  timeout: 5_000,
}

/** A JWK Set of a hundred keys has 50 KiB. */
const maxBytes = 1024 ** 2

export interface KeySetOptions {
  readonly source: KeySource
  /** What the log calls the issuer. */
  readonly name: string
  readonly log: Log
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly times?: KeySetTimes
}

/** What of an issuer's entry says where its keys are. */
export function keySourceOf({ issuer, jwks, ca }: IssuerSettings): KeySource {
  return { issuer, jwks, ca }
}

/**
 * Keys with a memory. Not jose's createRemoteJWKSet, which asks again for every token while the issuer fails, and then forgets the
 * keys that it had; choosing and reading keys is jose's all the same. Only what the entry names is fetched, and what discovery
 * names: `jku` and `x5u` of tokens are never looked at.
 */
export function createKeySet({ source, name, log, now, times = keySetTimes }: KeySetOptions): KeySet {
  const closing = new AbortController()
  let keys: { readonly find: JWTVerifyGetKey; readonly at: number } | undefined
  let tried: { readonly at: number; readonly wait: number } | undefined
  let failing = false
  let pending: Promise<void> | undefined

  return {
    async find(header, token) {
      if (keys === undefined || age(keys.at) >= times.fresh) await refresh()
      try {
        return await usable()(header, token)
      } catch (error) {
        if (!isUnknownKey(error)) throw error
      }
      await refresh()
      return usable()(header, token)
    },
    close: () => closing.abort(),
  }

  /** A clock that was set back makes anything old. */
  function age(at: number): number {
    const ms = now() - at
    return ms < 0 ? Number.POSITIVE_INFINITY : ms
  }

  function usable(): JWTVerifyGetKey {
    if (keys === undefined || age(keys.at) >= times.stale) throw new Error('there are no keys of the issuer')
    return keys.find
  }

  /** Fetches once for all who wait, and not again before its time. Never rejects: what is there then has to do. */
  async function refresh(): Promise<void> {
    if (pending === undefined) {
      if (tried !== undefined && age(tried.at) < tried.wait) return
      pending = load().finally(() => (pending = undefined))
    }
    await pending
  }

  async function load(): Promise<void> {
    try {
      const { createLocalJWKSet } = await import('jose')
      // The set is checked by jose, which throws on anything else.
      const find = createLocalJWKSet((await read(source, closing.signal, times.timeout)) as never)
      keys = { find, at: now() }
      tried = { at: now(), wait: times.cooldown }
      if (failing) log.info({ issuer: name }, 'the keys of the issuer could be fetched again')
      failing = false
    } catch (error) {
      tried = { at: now(), wait: times.retry }
      if (failing || closing.signal.aborted) return
      failing = true
      const facts = { issuer: name, error: messageOf(error) }
      log.warn(facts, 'the keys of the issuer could not be fetched; it is tried again when tokens need them')
    }
  }
}

async function read({ issuer, jwks, ca }: KeySource, closing: AbortSignal, timeout: number): Promise<unknown> {
  if (jwks !== undefined && !isAddress(jwks)) return JSON.parse(jwks) as unknown
  const late = AbortSignal.timeout(timeout)
  const options = { signal: AbortSignal.any([closing, late]), maxBytes, ca }
  try {
    return await fetchJson(jwks ?? (await discover(issuer, options)), options)
  } catch (error) {
    throw late.aborted ? new Error(`no answer within ${timeout} ms`, { cause: error }) : error
  }
}

/** OpenID Connect Discovery 1.0 §4: where the issuer says that its keys are; by §4.3 it has to call itself what we call it. */
async function discover(issuer: string, options: Parameters<typeof fetchJson>[1]): Promise<string> {
  const found = await fetchJson(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, options)
  const { issuer: itself, jwks_uri: address } = (found ?? {}) as {
    readonly issuer?: unknown
    readonly jwks_uri?: unknown
  }
  if (itself !== issuer)
    throw new Error('its discovery document is of another issuer; the two must be written exactly alike')
  if (typeof address !== 'string') throw new Error('its discovery document has no jwks_uri')
  const complaint = complainAboutAddress(address)
  if (complaint !== undefined) throw new Error(`its discovery document has a jwks_uri that ${complaint}`)
  // Nobody is led from a checked connection to an open one.
  if (/^https:/i.test(issuer) && !/^https:/i.test(address))
    throw new Error('its discovery document leads away from https')
  return address
}

function isUnknownKey(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_JWKS_NO_MATCHING_KEY'
}
