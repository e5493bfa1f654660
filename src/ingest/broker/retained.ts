import type { Publish } from '../../core/access.ts'
import type { Qos } from '../../core/message.ts'
import { topicMatches } from '../../core/topic.ts'
import type { BrokerLimits } from './limits.ts'
import { Outgoing } from './outgoing.ts'

/** A message that is kept for those who subscribe later. */
export interface RetainedMessage {
  readonly message: Outgoing
  readonly qos: Qos
  /** The principal that published it last. */
  readonly owner: string
}

/** A message that is on its way to be kept, and has its room already. */
interface Claim {
  readonly owner: string
  readonly bytes: number
}

/** One topic: what is kept, and what is on its way. */
interface Slot {
  kept: RetainedMessage | undefined
  readonly claims: Set<Claim>
}

interface Room {
  messages: number
  bytes: number
}

type RetainedLimits = Pick<
  BrokerLimits,
  'retained' | 'retainedBytes' | 'retainedPerPrincipal' | 'retainedBytesPerPrincipal'
>

/** Topics that a filter is held against in one turn: fractions of a millisecond, and some where all match and policies are asked. */
const lookedAtOnce = 100

/**
 * The retained messages [MQTT-3.3.1-5], in memory and bounded, for each principal and over all.
 *
 * Room is taken before a message is accepted, because its acknowledgement says that it is kept too: `claim`, then `keep` or
 * `release`. A topic costs its principal one message, and the largest of what it has there and what it has on its way there. Who
 * replaces another principal's message pays for it from then on. Deleting needs no room, and gives it back.
 */
export class Retained {
  readonly #limits: RetainedLimits
  readonly #changed: (messages: number) => void
  readonly #slots = new Map<string, Slot>()
  readonly #claims = new WeakMap<Publish, Claim>()
  readonly #rooms = new Map<string, Room>()
  readonly #all: Room = { messages: 0, bytes: 0 }
  #kept = 0

  /** `changed` is told how many messages are kept. */
  constructor(limits: RetainedLimits, changed: (messages: number) => void = () => {}) {
    this.#limits = limits
    this.#changed = changed
  }

  /** Takes the room that a message will need; what is in the way, for its publisher to read, where there is none. */
  claim(owner: string, publish: Publish): string | undefined {
    if (!publish.retain || publish.payload.length === 0) return undefined
    const { topic } = publish
    const claim: Claim = { owner, bytes: new Outgoing(topic, publish.payload, true).size }
    const before = this.#roomOf(owner)
    const all = { ...this.#all }
    this.#change(topic, (slot) => slot.claims.add(claim))
    const complaint = this.#complain(owner, before, all)
    if (complaint !== undefined) this.#change(topic, (slot) => slot.claims.delete(claim))
    else this.#claims.set(publish, claim)
    return complaint
  }

  /** The message will not be published: its room is free again. */
  release(publish: Publish): void {
    const claim = this.#claims.get(publish)
    if (claim === undefined) return
    this.#claims.delete(publish)
    this.#change(publish.topic, (slot) => slot.claims.delete(claim))
  }

  /**
   * Keeps an accepted message in the place of the one before [MQTT-3.3.1-5]; an empty one deletes it [MQTT-3.3.1-10]
   * [MQTT-3.3.1-11]. One without a claim is not kept, which gives false, and deletes too: what the topic had before is not its
   * last message any more [MQTT-3.3.1-7].
   */
  keep(publish: Publish): boolean {
    const { topic, payload, qos } = publish
    const claim = this.#claims.get(publish)
    this.#claims.delete(publish)
    this.#change(topic, (slot) => {
      this.#kept -= slot.kept === undefined ? 0 : 1
      slot.kept = undefined
      if (claim === undefined) return
      slot.claims.delete(claim)
      slot.kept = { message: new Outgoing(topic, payload, true).own(), qos, owner: claim.owner }
      this.#kept += 1
    })
    this.#changed(this.#kept)
    return claim !== undefined || payload.length === 0
  }

  /**
   * What is kept for a topic filter; read as it is asked for, so that it is as new as can be. Undefined now and then: a good many topics
   * have been looked at, and others should have their turn before the next.
   */
  *matching(filter: string): Generator<RetainedMessage | undefined> {
    if (!/[+#]/.test(filter)) {
      const exact = this.#slots.get(filter)?.kept
      if (exact !== undefined) yield exact
      return
    }
    let looked = 0
    for (const [topic, { kept }] of this.#slots) {
      if (kept !== undefined && topicMatches(filter, topic)) yield kept
      if ((looked += 1) % lookedAtOnce === 0) yield undefined
    }
  }

  #complain(owner: string, before: Room, allBefore: Room): string | undefined {
    const { retained, retainedBytes, retainedPerPrincipal, retainedBytesPerPrincipal } = this.#limits
    const own = this.#roomOf(owner)
    // One that needs no more than there was is let in, however full it is.
    if (own.messages > Math.max(before.messages, retainedPerPrincipal))
      return `this principal has ${retainedPerPrincipal} retained messages already`
    if (own.bytes > Math.max(before.bytes, retainedBytesPerPrincipal))
      return `the retained messages of this principal have ${retainedBytesPerPrincipal} bytes already`
    if (
      this.#all.messages > Math.max(allBefore.messages, retained) ||
      this.#all.bytes > Math.max(allBefore.bytes, retainedBytes)
    )
      return 'there is no room for another retained message'
    return undefined
  }

  #roomOf(owner: string): Room {
    const { messages = 0, bytes = 0 } = this.#rooms.get(owner) ?? {}
    return { messages, bytes }
  }

  /** Changes a slot, and counts anew what its topic costs whom. */
  #change(topic: string, change: (slot: Slot) => void): void {
    const slot = this.#slots.get(topic) ?? { kept: undefined, claims: new Set() }
    this.#count(slot, -1)
    change(slot)
    this.#count(slot, 1)
    if (slot.kept === undefined && slot.claims.size === 0) this.#slots.delete(topic)
    else this.#slots.set(topic, slot)
  }

  #count({ kept, claims }: Slot, by: 1 | -1): void {
    const costs = new Map<string, number>()
    if (kept !== undefined) costs.set(kept.owner, kept.message.size)
    for (const { owner, bytes } of claims) costs.set(owner, Math.max(costs.get(owner) ?? 0, bytes))
    for (const [owner, bytes] of costs) {
      const room = this.#rooms.get(owner) ?? { messages: 0, bytes: 0 }
      for (const one of [room, this.#all]) {
        one.messages += by
        one.bytes += by * bytes
      }
      if (room.messages === 0) this.#rooms.delete(owner)
      else this.#rooms.set(owner, room)
    }
  }
}
