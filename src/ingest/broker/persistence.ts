import { Readable } from 'node:stream'
import { topicMatches } from '../../core/topic.ts'
import type { Qos } from '../../core/message.ts'
import type { BrokerLimits } from './limits.ts'
import type { OutgoingPacket, Session, Sessions } from './sessions.ts'

/** A client as aedes gives it to its persistence: often the client itself, sometimes only its id. */
interface Owner {
  readonly id?: string
  readonly clientId?: string
  readonly conn?: { readonly session?: Session | undefined }
}

/** A promise that is kept already and calls back at once. */
interface Now<Value> {
  then(use: (value: Value) => void): void
}

/**
 * What aedes waits for on its way from a publish to its subscribers. With real promises a QoS 0 message would overtake the
 * QoS 1 message before it, and aedes' subscribers throw away what has a lower running number than the last one they saw.
 */
function now<Value>(value: Value): Now<Value> {
  return {
    // oxlint-disable-next-line unicorn/no-thenable -- being one is its purpose
    then: (use) => use(value),
  }
}

interface RetainedPacket extends OutgoingPacket {
  readonly topic: string
  readonly payload: Buffer | string
}

/**
 * The store that aedes asks for (aedes-persistence's interface), on our bounded sessions. Wills and incoming QoS 2 messages
 * have no place here: a connection holds its own will, and publishes never reach aedes' own handlers.
 */
export class BrokerPersistence {
  readonly #sessions: Sessions
  readonly #limits: BrokerLimits
  readonly #refusedRetained: (topic: string) => void
  readonly #retained = new Map<string, RetainedPacket>()
  #retainedBytes = 0

  constructor(sessions: Sessions, limits: BrokerLimits, refusedRetained: (topic: string) => void) {
    this.#sessions = sessions
    this.#limits = limits
    this.#refusedRetained = refusedRetained
  }

  async setup(): Promise<void> {}

  /** Keeps the last retained message of a topic; an empty payload deletes it [MQTT-3.3.1-10] [MQTT-3.3.1-11]. */
  storeRetained(packet: RetainedPacket): Now<void> {
    this.#retain(packet)
    return now(undefined)
  }

  #retain(packet: RetainedPacket): void {
    const old = this.#retained.get(packet.topic)
    const freed = old === undefined ? 0 : sizeOf(old)
    if (packet.payload.length === 0) {
      this.#retained.delete(packet.topic)
      this.#retainedBytes -= freed
      return
    }
    const bytes = this.#retainedBytes - freed + sizeOf(packet)
    const full =
      bytes > this.#limits.retainedBytes || (old === undefined && this.#retained.size >= this.#limits.retained)
    if (full) return this.#refusedRetained(packet.topic)
    this.#retainedBytes = bytes
    this.#retained.set(packet.topic, { ...packet, payload: Buffer.from(packet.payload) })
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(this.#retainedFor(filters))
  }

  createRetainedStream(filter: string): Readable {
    return this.createRetainedStreamCombi([filter])
  }

  *#retainedFor(filters: readonly string[]): Generator<RetainedPacket> {
    for (const filter of filters) {
      const exact = this.#retained.get(filter)
      if (!/[+#]/.test(filter)) {
        if (exact !== undefined) yield exact
        continue
      }
      for (const [topic, packet] of this.#retained) if (topicMatches(filter, topic)) yield packet
    }
  }

  /** aedes hands over all filters of the SUBSCRIBE, the denied ones too: only what the session was granted is kept. */
  async addSubscriptions(client: Owner, subscriptions: readonly { readonly topic: string }[]): Promise<void> {
    const session = this.#sessionOf(client)
    if (session === undefined) return
    for (const { topic } of subscriptions) this.#sessions.subscribe(session, topic)
  }

  async removeSubscriptions(client: Owner, filters: readonly string[]): Promise<void> {
    const session = this.#sessionOf(client)
    if (session === undefined) return
    for (const filter of filters) this.#sessions.unsubscribe(session, filter)
  }

  async subscriptionsByClient(client: Owner): Promise<{ topic: string; qos: Qos }[]> {
    return [...(this.#sessionOf(client)?.filters ?? [])].map(([topic, qos]) => ({ topic, qos }))
  }

  subscriptionsByTopic(topic: string): Now<{ clientId: string; topic: string; qos: Qos }[]> {
    return now([...this.#sessions.keepersOf(topic)].map(([clientId, qos]) => ({ clientId, topic, qos })))
  }

  /** A clean start has ended the stored session already, in Sessions.open. */
  async cleanSubscriptions(): Promise<void> {}

  async countOffline(): Promise<{ subsCount: number; clientsCount: number }> {
    return { subsCount: 0, clientsCount: 0 }
  }

  async outgoingEnqueue(client: Owner, packet: OutgoingPacket): Promise<void> {
    this.#keep([{ clientId: client.clientId ?? '', qos: 2 }], packet)
  }

  outgoingEnqueueCombi(
    keepers: readonly { readonly clientId: string; readonly qos: Qos }[],
    packet: OutgoingPacket,
  ): Now<void> {
    if (keepers.length > 0) this.#keep(keepers, packet)
    return now(undefined)
  }

  /** A message got its id when it was sent, or its PUBREC came and a PUBREL takes its place. */
  async outgoingUpdate(client: Owner, packet: OutgoingPacket): Promise<void> {
    const session = this.#sessionOf(client)
    if (session === undefined || packet.messageId === undefined) return
    if (packet.brokerCounter === undefined) {
      const counter = session.sent.get(packet.messageId)
      if (counter !== undefined) this.#sessions.replace(session, counter, packet)
      return
    }
    const stored = session.queue.get(packet.brokerCounter)
    if (stored === undefined) return
    stored.messageId = packet.messageId
    session.sent.set(packet.messageId, packet.brokerCounter)
  }

  /** The client has acknowledged a message (it has an id), or may not receive it (it has none). */
  async outgoingClearMessageId(client: Owner, packet: OutgoingPacket): Promise<OutgoingPacket | undefined> {
    const session = this.#sessionOf(client)
    if (session === undefined) return undefined
    const counter = packet.messageId === undefined ? packet.brokerCounter : session.sent.get(packet.messageId)
    return counter === undefined ? undefined : this.#sessions.forget(session, counter)
  }

  /** What a resumed session has waiting; what was sent before goes again as a duplicate [MQTT-3.3.1-1]. */
  outgoingStream(client: Owner): Readable {
    const waiting = [...(this.#sessionOf(client)?.queue.values() ?? [])]
    return Readable.from(
      waiting.map((packet) =>
        packet.cmd === 'publish' && packet.messageId !== undefined ? { ...packet, dup: true } : packet,
      ),
    )
  }

  async incomingStorePacket(): Promise<void> {}

  async incomingGetPacket(): Promise<never> {
    throw new Error('no such packet')
  }

  async incomingDelPacket(): Promise<never> {
    throw new Error('no such packet')
  }

  async cleanIncoming(): Promise<void> {}
  async putWill(): Promise<void> {}
  async getWill(): Promise<undefined> {}
  async delWill(): Promise<undefined> {}

  streamWill(): Readable {
    return Readable.from([])
  }

  getClientList(): Readable {
    return Readable.from([])
  }

  async destroy(): Promise<void> {}

  #sessionOf(client: Owner): Session | undefined {
    return client.conn?.session ?? this.#sessions.get(client.id ?? client.clientId ?? '')
  }

  #keep(keepers: readonly { readonly clientId: string; readonly qos: Qos }[], packet: OutgoingPacket): void {
    const { brokerCounter, brokerId, topic = '' } = packet
    if (brokerCounter === undefined) return
    // A copy of its own: the payload is a view on everything that came with it on the socket. All sessions share it.
    const payload = Buffer.from(packet.payload ?? '')
    for (const { clientId, qos } of keepers) {
      const session = this.#sessions.get(clientId)
      if (session === undefined) continue
      const lower = Math.min(qos, packet.qos ?? 0) as Qos
      const stored = {
        cmd: 'publish',
        brokerCounter,
        topic,
        payload,
        qos: lower,
        retain: false,
        dup: false,
        messageId: undefined,
      }
      this.#sessions.keep(session, brokerCounter, { ...stored, ...(brokerId !== undefined && { brokerId }) })
    }
  }
}

function sizeOf(packet: RetainedPacket): number {
  return 200 + packet.topic.length + packet.payload.length
}
