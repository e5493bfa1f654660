import type { Publish } from '../../src/core/access.ts'
import { QueueAwayError } from '../../src/core/errors.ts'
import {
  type Bridge,
  type BridgeLimits,
  type BridgeSettings,
  createBridge,
  type RefusedMessage,
} from '../../src/ingest/mqtt-bridge.ts'
import type { Store } from '../../src/core/queue.ts'
import { type Scope, until } from './cleanup.ts'
import { countedMetrics, type CountedMetrics, fakeAccept, type FakeAccept, linesLog } from './doors.ts'
import { createMemoryQueues } from './memory-queues.ts'

export interface BridgeUnderTest {
  readonly bridge: Bridge
  readonly door: FakeAccept
  /** What was refused and kept. */
  readonly kept: readonly RefusedMessage[]
  readonly metrics: CountedMetrics
  readonly lines: readonly string[]
  /** What has been handed to accept, oldest first. */
  readonly taken: () => readonly Publish[]
  readonly payloads: () => readonly string[]
}

/** What sluice.yaml's defaults make of a bridge. */
export function bridgeSettings(url: string, settings: Partial<BridgeSettings> = {}): BridgeSettings {
  return {
    name: 'plant',
    url,
    topics: ['devices/#'],
    qos: 1,
    qos0: 'drop',
    retained: 'once',
    receiveMaximum: 1000,
    sessionExpiry: 3_600_000,
    keepalive: 30_000,
    ...settings,
  }
}

/** Comes back soon, so that tests don't wait. */
export const quick: Partial<BridgeLimits> = {
  reconnect: { first: 20, max: 200 },
  again: { first: 20, max: 100 },
  leaseMs: 1_000,
}

/** A bridge to a fake accept, not started. */
export function makeBridge(
  scope: Scope,
  url: string,
  settings: Partial<BridgeSettings> = {},
  more: {
    readonly store?: Store
    readonly limits?: Partial<BridgeLimits>
    readonly door?: FakeAccept
    readonly cannotKeep?: () => boolean
  } = {},
): BridgeUnderTest {
  const door = more.door ?? fakeAccept()
  const kept: RefusedMessage[] = []
  const metrics = countedMetrics()
  const log = linesLog()
  const bridge = createBridge({
    settings: bridgeSettings(url, settings),
    accept: door.accept,
    async keepRefused(refused) {
      if (more.cannotKeep?.() === true) throw new QueueAwayError('away', false)
      kept.push(refused)
    },
    principal: { name: 'bridge:plant', method: 'bridge', actsFor: ['*'] },
    store: more.store ?? createMemoryQueues().store,
    log,
    metrics,
    limits: { ...quick, ...more.limits },
  })
  scope.after(() => bridge.stop({ deadlineMs: 100, leave: false }))
  const taken = (): readonly Publish[] => door.taken.map(({ publish }) => publish)
  return {
    bridge,
    door,
    kept,
    metrics,
    lines: log.lines,
    taken,
    payloads: () => taken().map(({ payload }) => payload.toString()),
  }
}

/** The same, started and subscribed. */
export async function startBridge(...parameters: Parameters<typeof makeBridge>): Promise<BridgeUnderTest> {
  const made = makeBridge(...parameters)
  made.bridge.start()
  await subscribed(made)
  return made
}

/** Waits until the bridge has its subscriptions, which is a little after it is connected. */
export async function subscribed({ lines }: BridgeUnderTest, times = 1): Promise<void> {
  await until(
    `the bridge to subscribe; it said: ${lines.join('\n')}`,
    () => lines.filter((line) => line.startsWith('subscribed')).length >= times,
  )
}
