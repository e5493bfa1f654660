import type { BridgeSettings as Written } from '../config/sluice-schema.ts'
import type { Accept, Principal } from '../core/access.ts'
import { newId } from '../core/id.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import type { Store } from '../core/queue.ts'
import { type BridgeSettings, createBridge } from '../ingest/mqtt-bridge.ts'
import { type FromMessage, fromMessage } from './from-message.ts'

/** The principal that a bridge is, in policies, metrics and logs. */
export function bridgePrincipal(bridge: string): string {
  return `bridge:${bridge}`
}

/** Bytes of a packet beside its payload: topic, properties, headers. What is larger is refused without being kept. */
const packetRoom = 128 * 1024

export interface BridgesOptions {
  readonly bridges: readonly Written[]
  /** Bytes of a payload that accept takes. */
  readonly payloadLimit: number
  readonly accept: Accept
  readonly store: Store
  readonly log: Log
  readonly metrics: Metrics
  /** Another client has taken a session over: this process can't go on, and must not fight. */
  readonly fail: (error: Error) => void
}

export interface Bridges {
  states(): readonly { readonly name: string; readonly state: string }[]
  close(deadlineMs: number): Promise<void>
}

/** Starts every bridge. A broker that is away doesn't keep anything from starting. */
export function startBridges({ bridges, payloadLimit, accept, store, log, metrics, fail }: BridgesOptions): Bridges {
  const running = bridges.map((written) => {
    const { thing, id, actsFor, trust, unknownThings, policies: _policies, ...rest } = written
    const ofThing = typeof thing === 'string' ? fromMessage(thing) : undefined
    const ofId = id === undefined ? undefined : fromMessage(id)
    const settings: BridgeSettings = {
      ...rest,
      ...(typeof thing === 'object' && { thing }),
      ...(ofThing?.kind === 'quick' && { thing: ofThing.from }),
      ...(ofId?.kind === 'quick' && { id: ofId.from }),
    }
    const principal: Principal = {
      name: bridgePrincipal(written.name),
      method: 'bridge',
      actsFor,
      trust,
      unknownThings,
    }
    const bridge = createBridge({
      settings,
      accept: withEvaluated(accept, ofThing, ofId),
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
  return {
    states: () =>
      running.map((bridge) => {
        const { connected, inFlight, clientId, lastError } = bridge.state()
        const state = connected
          ? `connected as ${clientId ?? '?'}, ${inFlight} in flight`
          : `not connected${lastError === undefined ? '' : `: ${lastError}`}`
        return { name: bridge.name, state }
      }),
    close: async (deadlineMs) => void (await Promise.all(running.map((bridge) => bridge.stop({ deadlineMs })))),
  }
}

/** Templates that need JSONata are evaluated on the way to accept; the bridge itself knows those that only look at the topic. */
function withEvaluated(accept: Accept, thing: FromMessage | undefined, id: FromMessage | undefined): Accept {
  if (thing?.kind !== 'evaluated' && id?.kind !== 'evaluated') return accept
  return async (speaker, publish) => {
    const named: { thing?: string; id?: string } = {}
    if (thing?.kind === 'evaluated') {
      const name = await thing.from(publish)
      if (name === undefined) return unnamed()
      named.thing = name
    }
    if (id?.kind === 'evaluated') {
      const own = await id.from(publish)
      if (own !== undefined) named.id = own
    }
    return accept(speaker, { ...publish, ...named })
  }
}

function unnamed() {
  const message = 'the message does not say which thing it is from'
  return { kind: 'refused', id: newId(), status: 400, reason: 'request', message } as const
}
