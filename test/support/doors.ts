import { createHash, timingSafeEqual } from 'node:crypto'
import type {
  Accept,
  AcceptBatch,
  Accepted,
  Access,
  DataAction,
  Presented,
  Publish,
  Speaker,
} from '../../src/core/access.ts'
import type { Log } from '../../src/core/log.ts'
import type { Metrics } from '../../src/core/metrics.ts'

/** The doors are tested with real clients and sockets; what stands behind them is injected, so that a test can hold and refuse. */

export interface FakeAccess extends Access {
  /** Tokens by principal name. */
  readonly tokens: Map<string, string>
  /** What is denied, as `iot:Action name`. */
  readonly denied: Set<string>
  readonly asked: string[]
}

/** Knows principals by token (`name:secret` as a bearer, user name and password over MQTT); denies what `denied` names. */
export function fakeAccess(names: readonly string[] = ['d-1', 'd-2']): FakeAccess {
  const tokens = new Map(names.map((name) => [name, `${name}-secret`]))
  const denied = new Set<string>()
  const asked: string[] = []
  const fake: FakeAccess = {
    tokens,
    denied,
    asked,
    renew: (presented) => fake.authenticate(presented),
    async authenticate(presented) {
      const shown = shownBy(presented)
      if (shown === undefined) return { kind: 'absent' }
      const token = tokens.get(shown.name)
      if (token === undefined || !equal(token, shown.token))
        return { kind: 'refused', reason: `token of ${shown.name}` }
      return { kind: 'principal', principal: { name: shown.name, method: 'token', thing: shown.name } }
    },
    decide(speaker: Speaker, action: DataAction, name: string) {
      asked.push(`${action} ${name}`)
      const no = denied.has(`${action} ${name}`) || denied.has(`${speaker.principal.name} ${action} ${name}`)
      return no ? { allow: false, because: 'denied by the test', by: 'test/1' } : { allow: true }
    },
    decideForThing: () => ({ allow: true }),
    knowsThing: () => true,
    mayActFor: () => true,
  }
  return fake
}

function shownBy(presented: Presented): { name: string; token: string } | undefined {
  if (presented.bearer !== undefined)
    return { name: presented.bearer.replace(/-secret.*$/, ''), token: presented.bearer }
  if (presented.username === undefined || presented.password === undefined) return undefined
  return { name: presented.username, token: presented.password.toString('utf8') }
}

function equal(left: string, right: string): boolean {
  const [a, b] = [left, right].map((text) => createHash('sha256').update(text).digest())
  return a !== undefined && b !== undefined && timingSafeEqual(a, b)
}

export interface Taken {
  readonly speaker: Speaker
  readonly publish: Publish
}

export interface FakeAccept {
  readonly accept: Accept
  /** Each message as `accept` answers it. */
  acceptBatch: AcceptBatch
  readonly taken: Taken[]
  /** While set, answers wait; `release` lets those that match go. */
  hold(match?: (publish: Publish) => boolean): void
  release(match?: (publish: Publish) => boolean): void
  /** Answers something other than `accepted`; undefined accepts. */
  reply: (publish: Publish, speaker: Speaker) => Accepted | undefined
}

/** Accepts everything at once, unless told otherwise. */
export function fakeAccept(): FakeAccept {
  const taken: Taken[] = []
  let holds: ((publish: Publish) => boolean) | undefined
  let waiting: { publish: Publish; go: () => void }[] = []
  let count = 0
  const fake: FakeAccept = {
    taken,
    reply: () => undefined,
    hold: (match = () => true) => (holds = match),
    release(match = () => true) {
      const free = waiting.filter(({ publish }) => match(publish))
      waiting = waiting.filter(({ publish }) => !match(publish))
      if (waiting.length === 0) holds = undefined
      for (const { go } of free) go()
    },
    async acceptBatch(speaker, publishes) {
      const answers = await Promise.all(publishes.map((publish) => fake.accept(speaker, publish)))
      return { kind: 'each', answers }
    },
    async accept(speaker, publish) {
      const id = publish.id ?? `id-${(count += 1)}`
      taken.push({ speaker, publish })
      if (holds?.(publish) === true) await new Promise<void>((go) => waiting.push({ publish, go }))
      return fake.reply(publish, speaker) ?? { kind: 'accepted', id }
    },
  }
  return fake
}

export interface CountedMetrics extends Metrics {
  /** The sum of a metric over the labels that are given. */
  total(name: string, labels?: Readonly<Record<string, string>>): number
}

export function countedMetrics(): CountedMetrics {
  const rows: { name: string; labels: Readonly<Record<string, string>>; value: number }[] = []
  return {
    count: (name, labels, by = 1) => void rows.push({ name, labels, value: by }),
    set(name, labels, value) {
      const found = rows.find((row) => row.name === name && JSON.stringify(row.labels) === JSON.stringify(labels))
      if (found === undefined) rows.push({ name, labels, value })
      else found.value = value
    },
    total: (name, labels = {}) =>
      rows
        .filter((row) => row.name === name && Object.entries(labels).every(([key, value]) => row.labels[key] === value))
        .reduce((sum, row) => sum + row.value, 0),
  }
}

/** A log that remembers its lines as text. */
export function linesLog(): Log & { readonly lines: string[] } {
  const lines: string[] = []
  const write = (facts: object, message: string): void => void lines.push(`${message} ${JSON.stringify(facts)}`)
  const log = { lines, debug: write, info: write, warn: write, error: write, with: () => log }
  return log
}
