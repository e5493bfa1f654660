import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { Store } from '../../core/queue.ts'
import type { Connection } from '../../mqtt/connection.ts'
import { BrokerRefusedError, describeReason } from '../../mqtt/refusal.ts'
import { filtersKey } from './client-id.ts'
import type { BridgeSettings } from './settings.ts'

export interface SubscriptionsOptions {
  readonly settings: Pick<BridgeSettings, 'name' | 'topics' | 'share' | 'qos' | 'retained'>
  readonly clientId: string
  readonly store: Store
  readonly log: Log
  readonly metrics: Metrics
}

/** MQTT 5 §3.8.3.1: what a broker does with retained messages when a filter is subscribed. */
const retainHandling = { always: 0, once: 1, never: 2 } as const

/**
 * The filters that a session has at the broker. Those last subscribed are kept in the store under the client id: a session outlives
 * us, and what has left the config meanwhile must be unsubscribed.
 */
export class Subscriptions {
  readonly #options: SubscriptionsOptions
  readonly #key: string
  readonly #wanted: readonly string[]
  /** What the store has, as far as we know: nothing is known of one that has come back with perhaps an older state. */
  #stored: readonly string[] | undefined
  /** What the broker has, since the last `apply`. */
  #applied: readonly string[] | undefined

  constructor(options: SubscriptionsOptions) {
    const { topics, share } = options.settings
    this.#options = options
    this.#key = filtersKey(options.clientId)
    this.#wanted = topics.map((filter) => (share === undefined ? filter : `$share/${share}/${filter}`))
    options.store.onReturn(() => void this.#remember())
  }

  /** Brings the session's filters to what is wanted, and says what the broker refused, in words. Throws when the store or the connection is away. */
  async apply(connection: Connection): Promise<string | undefined> {
    const { settings, log, metrics, clientId } = this.#options
    const stored = [...new Set([...(await this.#load()), ...(this.#applied ?? [])])]
    const { sessionPresent, version } = connection
    if (!sessionPresent && stored.length > 0) {
      metrics.count('sluice_bridge_sessions_lost_total', { bridge: settings.name })
      log.warn({ clientId }, 'the broker has lost our session: messages that it held for us are gone')
    }
    if (settings.share !== undefined && !connection.limits.sharedSubscriptions) {
      throw new BrokerRefusedError('the broker has no shared subscriptions; leave "share" out', 'settings')
    }
    const had = sessionPresent ? stored : []
    const gone = had.filter((filter) => !this.#wanted.includes(filter))
    // On 3.1.1 every SUBSCRIBE brings the retained messages again, so one is sent for what is new only.
    const whole = version === 5 || settings.retained === 'always'
    const wanted = whole ? this.#wanted : this.#wanted.filter((filter) => !had.includes(filter))
    // Kept before it is sent: a crash in between must not leave a filter behind that nobody knows.
    await this.#save([...new Set([...had, ...this.#wanted])])
    const refused = wanted.length > 0 ? await this.#subscribe(connection, wanted) : []
    // Behind it, so that no message falls between the two: what a filter of before and one of now both take comes twice at most.
    if (gone.length > 0) await connection.unsubscribe(gone)
    this.#applied = this.#wanted.filter((filter) => !refused.some((row) => row.filter === filter))
    await this.#save(this.#applied)
    if (gone.length > 0) log.info({ filters: gone }, 'unsubscribed what is not in the config any more')
    return refused.length > 0 ? refused.map(({ text }) => text).join('; ') : undefined
  }

  /** Unsubscribes everything; messages that the broker has for us already come still. The store goes on knowing of the session. */
  async unsubscribeAll(connection: Connection): Promise<void> {
    const stored = this.#applied ?? (await this.#load())
    if (stored.length > 0) await connection.unsubscribe(stored)
    this.#applied = []
    await this.#save([])
  }

  /** The session has ended: nobody needs to look for it. */
  async forget(): Promise<void> {
    this.#applied = undefined
    await this.#options.store.delete(this.#key)
  }

  /** Writes down again what the broker has, where the store may have forgotten it; who comes after us must find it. */
  async #remember(): Promise<void> {
    this.#stored = undefined
    if (this.#applied !== undefined) await this.#save(this.#applied).catch(() => {})
  }

  async #subscribe(
    connection: Connection,
    filters: readonly string[],
  ): Promise<readonly { readonly filter: string; readonly text: string }[]> {
    const { settings, log } = this.#options
    const { qos } = settings
    const granted = await connection.subscribe(
      filters.map((topic) => ({
        topic,
        qos,
        ...(connection.version === 5 && { rap: true, nl: false, rh: retainHandling[settings.retained] }),
      })),
    )
    return filters.flatMap((filter, index) => {
      const code = granted[index] ?? 0x80
      if (code < qos) log.warn({ filter }, 'the broker grants QoS 0 only: it may lose messages on the way to us')
      if (code < 0x80) return []
      const text = `the broker refused the subscription to ${filter}: ${describeReason(code)}`
      log.error({ filter, code }, text)
      return [{ filter, text }]
    })
  }

  async #load(): Promise<readonly string[]> {
    if (this.#stored !== undefined) return this.#stored
    const value = await this.#options.store.get<unknown>(this.#key)
    this.#stored = Array.isArray(value) ? value.filter((filter) => typeof filter === 'string') : []
    return this.#stored
  }

  async #save(filters: readonly string[]): Promise<void> {
    const same = this.#stored?.length === filters.length && filters.every((filter) => this.#stored?.includes(filter))
    if (same) return
    await this.#options.store.set(this.#key, filters)
    this.#stored = filters
  }
}
