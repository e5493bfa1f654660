import type { BridgeSettings as Written } from '../config/sluice-schema.ts'
import type { Accept, Accepted, Principal, Publish } from '../core/access.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Message } from '../core/message.ts'
import type { Metrics } from '../core/metrics.ts'
import { ownerOf } from '../core/owner.ts'
import type { Store } from '../core/queue.ts'
import { type DeadLetterJob, deadLetterOfRefusal } from '../delivery/ingest-letters.ts'
import { type BridgeSettings, createBridge, nameSessionsLeft, type RefusedMessage } from '../ingest/mqtt-bridge.ts'
import type { BridgeAccess } from './decisions.ts'
import { fromMessage } from './from-message.ts'

/** The principal that a bridge is, in policies, metrics and logs. */
export function bridgePrincipal(bridge: string): string {
  return ownerOf('bridge', bridge)
}

/** Who a bridge is to accept. */
export function principalOfBridge({
  name,
  actsFor,
  trust,
  unknownThings,
}: Pick<Written, 'name' | 'actsFor' | 'trust' | 'unknownThings'>): Principal {
  return { name: bridgePrincipal(name), method: 'bridge', actsFor, trust, unknownThings }
}

/** A bridge as decisions see it. */
export function accessOfBridge({
  name,
  topics,
  policies,
}: Pick<Written, 'name' | 'topics' | 'policies'>): BridgeAccess {
  return { principal: bridgePrincipal(name), topics, ...(policies !== undefined && { policies }) }
}

/** Bytes of a packet beside its payload: topic, properties, headers. What is larger is refused without being kept. */
const packetRoom = 128 * 1024

export interface BridgesOptions {
  readonly bridges: readonly Written[]
  /** Bytes of a payload that accept takes. */
  readonly payloadLimit: number
  readonly accept: Accept
  /** Keeps a dead letter; resolves when it is durable, rejects with QUEUE_AWAY. */
  readonly keep: (letter: DeadLetterJob) => Promise<void>
  readonly store: Store
  readonly log: Log
  readonly metrics: Metrics
  /** Another client has taken a session over: this process can't go on, and must not fight. */
  readonly fail: (error: Error) => void
}

export interface Bridges {
  states(): readonly { readonly name: string; readonly state: string }[]
  /** How a message that a bridge refused is handed in again: by its owner; undefined where there is no such bridge. */
  handIn(owner: string): ((publish: Publish, id: string) => Promise<Accepted>) | undefined
  close(deadlineMs: number): Promise<void>
}

/** Starts every bridge. A broker that is away doesn't keep anything from starting. */
export function startBridges(options: BridgesOptions): Bridges {
  const { bridges, payloadLimit, accept, keep, store, log, metrics, fail } = options
  const running = bridges.map((written) => {
    const { thing, id, actsFor: _a, trust: _t, unknownThings: _u, policies: _p, ...rest } = written
    const settings: BridgeSettings = {
      ...rest,
      ...(thing !== undefined && { thing: typeof thing === 'string' ? fromMessage(thing) : thing }),
      ...(id !== undefined && { id: fromMessage(id) }),
    }
    const principal = principalOfBridge(written)
    const bridge = createBridge({
      settings,
      accept,
      keepRefused: (refused) => keep(letterOf(written.name, refused)),
      principal,
      store,
      log,
      metrics,
      limits: { maximumPacketSize: payloadLimit + packetRoom },
    })
    bridge.ended.catch((error: unknown) => fail(error instanceof Error ? error : new Error(String(error))))
    bridge.start()
    return bridge
  })
  const names = bridges.map(({ name }) => name)
  nameSessionsLeft(store, names, log).catch((error: unknown) => {
    log.debug({ error: messageOf(error) }, 'sessions of bridges that are gone could not be looked for')
  })
  return {
    states: () =>
      running.map((bridge) => {
        const { connected, inFlight, clientId, lastError } = bridge.state()
        const state = connected
          ? `connected as ${clientId ?? '?'}, ${inFlight} in flight`
          : `not connected${lastError === undefined ? '' : `: ${lastError}`}`
        return { name: bridge.name, state }
      }),
    handIn(owner) {
      const found = running.find(({ name }) => bridgePrincipal(name) === owner)
      return found === undefined ? undefined : (publish, id) => found.again(publish, id)
    },
    close: async (deadlineMs) => void (await Promise.all(running.map((bridge) => bridge.stop({ deadlineMs })))),
  }
}

/** What a bridge refused, as a dead letter of it: the message as the broker sent it, with the thing where that could be told. */
function letterOf(
  bridge: string,
  { id, speaker, publish, reason, because, withoutPayload }: RefusedMessage,
): DeadLetterJob {
  const { topic, payload, qos, retain, properties, thing } = publish
  const message: Message = {
    id,
    at: Date.now(),
    topic,
    payload,
    qos,
    retain,
    principal: speaker.principal.name,
    ...(properties !== undefined && { properties }),
    ...(thing !== undefined && { thing }),
    ...(speaker.clientId !== undefined && { clientId: speaker.clientId }),
  }
  return deadLetterOfRefusal(bridge, message, `${reason}: ${because}`, { payload: !withoutPayload })
}
