import { z } from 'zod'
import type { Entry, Envelope } from '../../src/core/envelope.ts'
import { defineForwarder, type AnyForwarderDefinition, type Forwarder, type Item } from '../../src/core/forwarder.ts'
import type { Facts, Log } from '../../src/core/log.ts'
import type { Labels, MetricName, Metrics } from '../../src/core/metrics.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import type { DeliveryPolicy, WorkerDefinition } from '../../src/core/worker.ts'

/** A policy with waits that a test can sit through. */
export const quick: DeliveryPolicy = { attempts: 3, age: 60_000, backoff: { first: 1, max: 4 }, concurrency: 2 }

export function workerOf(parts: Partial<WorkerDefinition> = {}): WorkerDefinition {
  return {
    name: 'w',
    kind: 'scripted',
    keep: 'original',
    with: {},
    delivery: quick,
    settings: {},
    position: { file: 'workers/w.yaml', line: 1, column: 1 },
    ...parts,
  }
}

export function entryOf(parts: Partial<Entry> & Pick<Entry, 'id'>): Entry {
  return {
    at: Date.now(),
    rule: 'r',
    action: 0,
    topic: 'a/b',
    qos: 1,
    principal: 'p',
    in: `payload of ${parts.id}`,
    attempts: 0,
    ...parts,
  }
}

export function envelopeOf(ids: readonly string[], parts: Partial<Envelope> = {}): Envelope {
  return { v: 1, set: 's', entries: ids.map((id) => entryOf({ id })), ...parts }
}

/** A forwarder whose answers a test writes: one outcome for each item, or a function of the whole batch. */
export function scripted(
  answer: (item: Item) => Outcome | Promise<Outcome>,
  parts: {
    readonly limits?: AnyForwarderDefinition['limits']
    readonly with?: z.ZodObject
    readonly send?: Forwarder['send']
    readonly check?: Forwarder['check']
    readonly open?: () => void
  } = {},
): AnyForwarderDefinition & {
  readonly batches: string[][]
  readonly opened: () => number
  readonly closed: () => number
} {
  const batches: string[][] = []
  let opened = 0
  let closed = 0
  const definition = defineForwarder({
    kind: 'scripted',
    summary: 'Does what the test says.',
    credentials: [],
    settings: z.strictObject({}),
    with: parts.with ?? z.strictObject({}),
    limits: parts.limits ?? { messages: 10, bytes: 1_000 },
    async open() {
      opened += 1
      parts.open?.()
      const forwarder: Forwarder = {
        async send(items, signal, arrived) {
          batches.push(items.map((item) => item.id))
          return parts.send === undefined
            ? Promise.all(items.map(async (item) => answer(item)))
            : parts.send(items, signal, arrived)
        },
        async close() {
          closed += 1
        },
        ...(parts.check !== undefined && { check: parts.check }),
      }
      return forwarder
    },
  })
  return { ...definition, batches, opened: () => opened, closed: () => closed }
}

/** Counts what is counted, by name and labels. */
export function countingMetrics(): Metrics & {
  value(name: MetricName, labels: Readonly<Record<string, string>>): number
} {
  const values = new Map<string, number>()
  const key = (name: string, labels: object) =>
    [name, ...Object.entries(labels).map(([label, value]) => `${label}=${value}`)].toSorted().join(' ')
  return {
    count: <Name extends MetricName>(name: Name, labels: Labels<Name>, by = 1) =>
      void values.set(key(name, labels), (values.get(key(name, labels)) ?? 0) + by),
    set: <Name extends MetricName>(name: Name, labels: Labels<Name>, value: number) =>
      void values.set(key(name, labels), value),
    value: (name, labels) => values.get(key(name, labels)) ?? 0,
  }
}

/** Keeps every line: level, message, facts. */
export function recordingLog(): Log & { readonly lines: { level: string; message: string; facts: Facts }[] } {
  const lines: { level: string; message: string; facts: Facts }[] = []
  const write = (level: string) => (facts: Facts, message: string) => void lines.push({ level, message, facts })
  const log: Log = {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    with: () => log,
  }
  return { ...log, lines }
}
