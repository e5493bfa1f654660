import type { Publish, Speaker } from '../../core/access.ts'
import { messageOf } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { ReceivedPublish } from '../../mqtt/publish.ts'
import { createPacedLog } from '../../core/paced-log.ts'
import type { HandIn } from './hand-in.ts'
import { Hold, type Offered } from './hold.ts'
import { InFlight, type Place } from './in-flight.ts'
import { pubackReason } from './reason.ts'
import type { BridgeLimits, BridgeSettings } from './settings.ts'

/** What the intake needs of a connection. */
export interface Flow {
  readonly sessionPresent: boolean
  /** MQTT 3.1.1 has no retain handling, so it is done here. */
  readonly ignoresRetained: boolean
  acknowledge(packetId: number, qos: number, reason: number): void
  pause(): void
  resume(): void
}

export interface IntakeOptions {
  readonly settings: BridgeSettings
  readonly limits: BridgeLimits
  readonly handIn: HandIn
  readonly speaker: Speaker
  readonly log: Log
  readonly metrics: Metrics
}

interface Entry {
  readonly number: number
  readonly publish: Publish
  /** Bytes of the packet, where they were too many to be kept. */
  readonly oversize?: number
  /** Absent for QoS 0. */
  readonly place?: Place
  readonly lane: Lane
}

/** A connection, as long as messages of it are in hand. */
interface Lane {
  readonly flow: Flow
  readonly inFlight: InFlight
  /** Counts the broker's sessions of ours: what came in an earlier one will not come again. */
  readonly session: number
  open: boolean
}

/** What accept asks to wait when it is broken; the backoff decides. */
const brokenAfterMs = 1_000
const settled: Offered = { kind: 'settled' }

/**
 * Takes what the broker sends and hands it in, many messages at a time; acknowledges in the order of arrival; stops reading
 * while too much is in hand or the queue is away. A QoS 1 message leaves its hands accepted, refused, or unacknowledged
 * at a broker that will send it again.
 */
export class Intake {
  readonly #options: IntakeOptions
  readonly #hold: Hold<Entry>
  readonly #log
  #lane: Lane | undefined
  #session = 0
  #paused = true
  #stopped = false
  #count = 0
  #inHand = 0
  #inHand0 = 0
  /** Payload bytes that wait for accept. */
  #bytes = 0
  /** Calls of accept that have not answered yet. */
  #offers = 0
  /** QoS 1 messages that have arrived so far; tells whether any came meanwhile. */
  arrivals = 0
  #whenIdle: (() => void)[] = []

  constructor(options: IntakeOptions) {
    this.#options = options
    this.#log = createPacedLog(options.log)
    this.#hold = new Hold(
      (entry) => this.#offer(entry),
      options.limits.again,
      () => this.#steer(),
    )
  }

  /** Messages taken from the broker and not yet acknowledged, and QoS 0 messages not yet accepted. */
  get inHand(): number {
    return this.#inHand + this.#inHand0
  }

  /** A new connection, paused. Reading begins when there is room. */
  attach(flow: Flow): void {
    const inFlight = new InFlight((place, reason) => {
      if (lane.open) flow.acknowledge(place.packetId, place.qos, reason)
      this.#add(place, -1)
    })
    if (!flow.sessionPresent) this.#session += 1
    const lane: Lane = { flow, inFlight, session: this.#session, open: true }
    this.#lane = lane
    for (const entry of this.#hold.forget((held) => this.#comesAgain(held))) this.#letGo(entry)
    this.#paused = true
    this.#steer()
  }

  /** The connection has ended: nothing can be acknowledged there any more. What is in hand goes on. */
  detach(): void {
    if (this.#lane !== undefined) this.#lane.open = false
    this.#lane = undefined
  }

  /**
   * Reads no more. What accept has goes on; what it has sent away for now is the broker's again, which has it still, unless a message
   * behind it has been accepted: that one can't be acknowledged before, and would come twice.
   */
  stop(): void {
    this.#stopped = true
    this.#steer()
    this.#tellIdle()
  }

  /** Lets go of what is still held; to be called behind the end of the connection. QoS 0 messages among it are lost. */
  close(): void {
    this.stop()
    this.detach()
    this.#hold.close()
    for (const { place } of this.#hold.forget(() => true)) if (place === undefined) this.#drop('stopped')
  }

  /** Resolves when nothing is in hand; behind `stop`, when nothing is that the broker would not send again. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#whenIdle.push(resolve)
      this.#tellIdle()
    })
  }

  take(received: ReceivedPublish): void {
    const lane = this.#lane
    if (lane === undefined) return
    if (received.qos > 0) this.arrivals += 1
    if (received.qos === 0 && this.#inHand0 >= this.#options.limits.qos0Buffer) return this.#drop('qos0')
    const place = received.qos === 0 ? undefined : lane.inFlight.add(received.packetId, received.qos)
    this.#add(place, 1)
    if (received.retain && lane.flow.ignoresRetained) {
      this.#drop('retained')
      return this.#settle(lane, place, 0)
    }
    const { topic, payload, qos, retain, properties, oversize } = received
    const publish = { topic, payload, qos, retain, ...(properties !== undefined && { properties }) }
    const number = (this.#count += 1)
    const entry = { number, publish, lane, ...(place && { place }), ...(oversize !== undefined && { oversize }) }
    this.#bytes += payload.length
    void this.#first(entry)
    this.#steer()
  }

  async #first(entry: Entry): Promise<void> {
    const offered = await this.#offer(entry)
    if (offered.kind === 'settled') return
    this.#hold.keep(entry, offered.afterMs)
    this.#steer()
  }

  async #offer(entry: Entry): Promise<Offered> {
    const { handIn, speaker } = this.#options
    if (this.#comesAgain(entry)) {
      this.#letGo(entry)
      return settled
    }
    this.#offers += 1
    try {
      const accepted = await handIn.take(speaker, entry.publish, entry.oversize)
      if (accepted.kind === 'later') return { kind: 'later', afterMs: accepted.afterMs }
      this.#conclude(entry, accepted.kind === 'accepted' ? 0 : pubackReason(accepted.reason))
      return settled
    } catch (error) {
      // accept never throws; if it does, the message is neither accepted nor refused.
      this.#log.warn('accept', { error: messageOf(error) }, 'accept failed; the message is kept')
      return { kind: 'later', afterMs: brokenAfterMs }
    } finally {
      this.#offers -= 1
      this.#tellIdle()
    }
  }

  /**
   * Whether the broker sends a message again, over a connection that has begun since, in the session in which it came [MQTT-4.4.0-1].
   * Where the broker has lost that session, we hold the only copy.
   */
  #comesAgain({ place, lane }: Entry): boolean {
    return place !== undefined && this.#lane !== undefined && lane !== this.#lane && lane.session === this.#session
  }

  #drop(reason: 'qos0' | 'retained' | 'stopped'): void {
    const { metrics, settings } = this.#options
    metrics.count('sluice_bridge_messages_dropped_total', { bridge: settings.name, reason })
    if (reason === 'qos0') this.#log.warn('qos0', {}, 'too many QoS 0 messages at once; dropped (qos0: drop)')
  }

  #settle(lane: Lane, place: Place | undefined, reason: number): void {
    if (place === undefined) this.#add(place, -1)
    else lane.inFlight.settle(place, reason)
    this.#steer()
  }

  #conclude({ lane, place, publish }: Entry, reason: number): void {
    this.#bytes -= publish.payload.length
    this.#settle(lane, place, reason)
  }

  /** Without an answer: its connection has ended, so nothing is acknowledged there any more. */
  #letGo(entry: Entry): void {
    this.#conclude(entry, 0)
  }

  #add(place: Place | undefined, by: 1 | -1): void {
    if (place === undefined) this.#inHand0 += by
    else this.#inHand += by
    if (this.inHand === 0) this.#tellIdle()
  }

  #tellIdle(): void {
    if (this.#whenIdle.length === 0) return
    const only = this.#hold.some(({ place, lane }) => place !== undefined && lane.session !== this.#session)
    const blocked = this.#lane?.inFlight.blocked === true
    const idle = this.inHand === 0 || (this.#stopped && this.#offers === 0 && !only && !blocked)
    if (idle) for (const resolve of this.#whenIdle.splice(0)) resolve()
  }

  /** Stops reading at the bounds and goes on at half of them, so that it doesn't flutter. */
  #steer(): void {
    const full = this.#full(this.#paused ? 2 : 1)
    if (full === this.#paused) return
    this.#paused = full
    if (full) this.#lane?.flow.pause()
    else this.#lane?.flow.resume()
  }

  #full(divisor: 1 | 2): boolean {
    const { settings, limits } = this.#options
    const over = (count: number, bound: number): boolean => (divisor === 1 ? count >= bound : count > bound / 2)
    return (
      this.#stopped ||
      this.#hold.busy ||
      over(this.#inHand, settings.receiveMaximum) ||
      over(this.#bytes, limits.inHandBytes) ||
      (settings.qos0 === 'pause' && over(this.#inHand0, limits.qos0Buffer))
    )
  }
}
