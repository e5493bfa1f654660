import { randomBytes } from 'node:crypto'
import type { Presented } from '../core/access.ts'
import { keepNewest } from '../core/keep-newest.ts'
import type { Log } from '../core/log.ts'
import { Buckets } from './flood-guard/buckets.ts'
import { Bursts } from './flood-guard/bursts.ts'
import { type Address, addressOf, type Claims, claimsOf } from './flood-guard/claims.ts'

/** How many authentications may fail. */
export interface FloodLimits {
  /**
   * A minute from one address (an IPv6 /64). A device that has its credential never fails; twenty are a person who mistypes, or a house
   * of devices after a key was changed. Guessing twenty passwords a minute gets nobody anywhere.
   */
  readonly perAddress: number
  /** A minute from this machine itself, and from where no address is known: a proxy may stand there, and all the world behind it. */
  readonly perLocalAddress: number
  /**
   * A minute for one claimed principal, access key or certificate, from all addresses together: against guessing from many
   * places. More than one address has, so that one address alone shuts nobody out.
   */
  readonly perPrincipal: number
  /** Addresses that are remembered, some hundred bytes each; beyond it the one that has failed longest ago is forgotten. */
  readonly addresses: number
  /** Claimed principals that are remembered. */
  readonly principals: number
  /** Addresses that are remembered with whom they have proved: these are not shut out by what others do. */
  readonly proved: number
  /** How long they are, in milliseconds, since they last proved it. */
  readonly provedMs: number
}

export const defaultFloodLimits: FloodLimits = {
  perAddress: 20,
  perLocalAddress: 600,
  perPrincipal: 60,
  addresses: 20_000,
  principals: 20_000,
  proved: 50_000,
  provedMs: 24 * 3_600_000,
}

export interface FloodGuardOptions {
  readonly limits?: Partial<FloodLimits>
  readonly log: Log
  /** Milliseconds from anywhere; must not go back. */
  readonly now?: () => number
}

/** Limits failed authentications per address and per claimed principal, before a proof is looked at. */
export interface FloodGuard {
  /** How long to wait before this may be tried, in milliseconds; undefined: it may be tried now. */
  ask(presented: Presented): { readonly wait: number } | undefined
  /** It was tried and refused. Not for what was refused because too much was going on (`afterMs`), nor for those who showed nothing. */
  failed(presented: Presented): void
  /** It was tried and right. */
  succeeded(presented: Presented): void
  /** Writes the last line of bursts that are over. Done every ten seconds by itself. */
  sweep(): void
  /** How much is remembered, for tests of its bound. */
  remembered(): number
  close(): void
}

const sweepMs = 10_000

/**
 * Counts failures in token buckets: each address and each claimed principal has a number of them at once and gets them back over a
 * minute. Many that are under way at once are all tried, and then count all the same.
 *
 * Whoever has proved something from an address lately has a bucket of its own there: neither a flood on the same name from elsewhere
 * nor one from the same address (behind NAT, or a proxy) on other names shuts it out. One thing does: a flood on a name that has not
 * been seen since the start, from many addresses, as long as it lasts.
 */
export function createFloodGuard(options: FloodGuardOptions): FloodGuard {
  const { log, now = () => performance.now() } = options
  const limits: FloodLimits = { ...defaultFloodLimits, ...options.limits }
  const byAddress = new Buckets(limits.addresses)
  const byName = new Buckets(limits.principals)
  const byProved = new Buckets(limits.proved)
  const bursts = new Bursts(log)
  const proved = new Map<string, number>()
  const key = randomBytes(32)
  let timer: NodeJS.Timeout | undefined
  /** Every attempt is asked about twice: before, and after it. */
  const read = new WeakMap<Presented, { readonly address: Address; readonly claims: Claims }>()

  function readOnce(presented: Presented): { readonly address: Address; readonly claims: Claims } {
    let known = read.get(presented)
    if (known === undefined) {
      known = { address: addressOf(presented.sourceIp), claims: claimsOf(presented, key) }
      read.set(presented, known)
    }
    return known
  }

  /** What the last request of an HTTP connection has proved, and when: many follow each other with the same credential. */
  const said = new WeakMap<object, { readonly shown: string; readonly until: number }>()

  function saidBefore({ http }: Presented, time: number): boolean {
    if (http?.connection === undefined || http.query.includes('X-Amz-')) return false
    // The certificate is the connection's; the rest of what a request can claim stands in these two.
    const shown = `${http.headers['authorization'] ?? ''}\n${http.headers['x-sluice-principal'] ?? ''}`
    const last = said.get(http.connection)
    if (last?.shown === shown && last.until > time) return true
    said.set(http.connection, { shown, until: time + limits.provedMs / 2 })
    return false
  }

  return {
    ask(presented) {
      // Nobody has failed yet, which is most of the time of most installations.
      if (byAddress.size + byName.size + byProved.size === 0) return undefined
      const time = now()
      const { address, claims } = readOnce(presented)
      const waits = bucketsOf(address, claims, time).map(({ buckets, name, limit }) => {
        const wait = buckets.wait(name, limit, time)
        if (wait > 0) bursts.refused(name, time)
        return wait
      })
      const wait = Math.max(...waits)
      return wait > 0 ? { wait } : undefined
    },

    failed(presented) {
      const time = now()
      const { address, claims } = readOnce(presented)
      const own = provedBy(address, claims, time) ? bucketsOf(address, claims, time) : []
      for (const { buckets, name, limit, facts } of [...own, ...commonBuckets(address, claims)]) {
        if (buckets.take(name, limit, time)) continue
        bursts.begin(name, { ...facts, address: address.text, protocol: presented.protocol }, time)
        timer ??= setInterval(sweep, sweepMs).unref()
      }
    },

    succeeded(presented) {
      const time = now()
      if (saidBefore(presented, time)) return
      const { address, claims } = readOnce(presented)
      const whole = wholeOf(address, claims)
      if (whole === undefined) return
      proved.delete(whole)
      proved.set(whole, time + limits.provedMs)
      keepNewest(proved, limits.proved)
    },

    sweep,
    remembered: () => byAddress.size + byName.size + byProved.size + proved.size + bursts.size,

    close() {
      clearInterval(timer)
      bursts.sweep(now(), true)
    },
  }

  function sweep(): void {
    bursts.sweep(now())
    if (bursts.size > 0) return
    clearInterval(timer)
    timer = undefined
  }

  /** The buckets that decide: for those who have proved all that they claim, their own. */
  function bucketsOf(address: Address, claims: Claims, time: number) {
    const name = wholeOf(address, claims)
    if (name === undefined || !provedBy(address, claims, time)) return commonBuckets(address, claims)
    return [{ buckets: byProved, name, limit: limits.perAddress, facts: {} }]
  }

  function commonBuckets(address: Address, { names }: Claims) {
    const limit = address.local ? limits.perLocalAddress : limits.perAddress
    return [
      { buckets: byAddress, name: address.text, limit, facts: {} },
      ...names.map((name) => ({
        buckets: byName,
        name: `principal ${name}`,
        limit: limits.perPrincipal,
        facts: { principal: name },
      })),
    ]
  }

  function provedBy(address: Address, claims: Claims, time: number): boolean {
    const whole = wholeOf(address, claims)
    return whole !== undefined && (proved.get(whole) ?? 0) > time
  }
}

/**
 * An address and all that was claimed there together. Not each claim by itself: whoever shows a good certificate and beside it
 * somebody's name, which nobody looks at then, has not proved that name.
 */
function wholeOf({ text }: Address, { names, credential }: Claims): string | undefined {
  if (names.length === 0 && credential === undefined) return undefined
  return JSON.stringify([text, credential ?? '', ...names])
}
