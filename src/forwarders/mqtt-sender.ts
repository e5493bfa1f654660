import { delivered, type Outcome } from '../core/outcome.ts'
import type { Connection } from '../mqtt/connection.ts'
import type { Dialer } from '../mqtt/dial.ts'
import { encodePublish } from '../mqtt/encode.ts'
import type { Closed } from '../mqtt/link.ts'
import type { OutgoingPublish } from '../mqtt/publish.ts'
import { Publisher } from '../mqtt/publisher.ts'
import { blamesUs, outcomeOfLoss, outcomeOfPuback, outcomeOfRefusal } from './mqtt-outcome.ts'
import { blocked, failed, isUnanswered, rejected, unanswered } from './outcomes.ts'

/** Connections that one batch may cost when it is sent message by message; each has had its culprit. */
const culpritsPerBatch = 5

interface Live {
  readonly connection: Connection
  readonly publisher: Publisher
  /** Set when it has ended. */
  closed: Closed | undefined
}

/** Publishes messages over one connection, which is opened when it is needed and again when it has ended. */
export class MqttSender {
  readonly #dialer: Dialer
  readonly #inFlight: number
  readonly #ending = new AbortController()
  #live: Promise<Live> | undefined
  /** The one topic so far; null when there were several. */
  #topic: string | null | undefined
  /** The broker has closed the connection on a batch: the next goes message by message, to find out for which. */
  #cautious = false
  #turn: Promise<unknown> = Promise.resolve()

  constructor(dialer: Dialer, inFlight: number) {
    this.#dialer = dialer
    this.#inFlight = inFlight
  }

  /** One outcome per message, in order. Never throws. */
  async send(messages: readonly OutgoingPublish[], signal: AbortSignal): Promise<readonly Outcome[]> {
    if (messages.length === 0) return []
    for (const { topic } of messages) this.#topic = this.#topic === undefined || this.#topic === topic ? topic : null
    const sending = this.#cautious
      ? this.#inTurn(() => this.#oneByOne(messages, signal))
      : this.#together(messages, signal)
    return unlessAborted(sending, signal, () => messages.map(() => unanswered('the send was broken off')))
  }

  /** Throws what a connect throws. */
  async connect(): Promise<void> {
    await this.#open()
  }

  async close(): Promise<void> {
    this.#ending.abort(new Error('the worker is stopping'))
    const live = await this.#live?.catch(() => undefined)
    await live?.connection.disconnect()
  }

  async #together(messages: readonly OutgoingPublish[], signal: AbortSignal): Promise<readonly Outcome[]> {
    const live = await this.#open().catch(outcomeOfRefusal)
    if ('kind' in live) return messages.map(() => live)
    if (signal.aborted) return messages.map(() => unanswered('the send was broken off'))
    const outcomes = await Promise.all(messages.map((message) => this.#publish(live, message)))
    if (live.closed !== undefined && blamesUs(live.closed)) this.#cautious = true
    return sameIfBlocked(outcomes)
  }

  /** A message on which the connection is closed again spends an attempt, so that it ends; the others go on. */
  async #oneByOne(messages: readonly OutgoingPublish[], signal: AbortSignal): Promise<readonly Outcome[]> {
    const outcomes: Outcome[] = []
    let culprits = 0
    for (const message of messages) {
      const live = culprits < culpritsPerBatch ? await this.#open().catch(outcomeOfRefusal) : unanswered(closesOften)
      if ('kind' in live || signal.aborted) {
        outcomes.push('kind' in live ? live : unanswered('the send was broken off'))
        continue
      }
      const outcome = await this.#publish(live, message)
      const blamed = outcome.kind !== 'delivered' && live.closed !== undefined && blamesUs(live.closed)
      if (blamed) culprits += 1
      outcomes.push(
        blamed ? failed(`the broker closed the connection on this message (${live.closed?.reason})`) : outcome,
      )
    }
    if (culprits === 0) this.#cautious = false
    return sameIfBlocked(outcomes)
  }

  async #publish(live: Live, message: OutgoingPublish): Promise<Outcome> {
    const { limits, version } = live.connection
    if (message.retain && !limits.retain) return rejected('the broker keeps no retained messages; set retain: false')
    if (message.qos > limits.maximumQos) return blocked('the broker takes QoS 0 only; set qos: 0')
    if (limits.maximumPacketSize < Infinity) {
      const size = encodePublish(message, 1, version).length
      if (size > limits.maximumPacketSize)
        return rejected(`the packet has ${size} bytes, and the broker takes ${limits.maximumPacketSize}`)
    }
    try {
      if (message.qos === 1) return outcomeOfPuback(await live.publisher.publish(message), this.#topic !== null)
      live.connection.publish(message, 0)
      await live.connection.flushed()
      return delivered
    } catch {
      return outcomeOfLoss((live.closed ??= await live.connection.closed))
    }
  }

  #open(): Promise<Live> {
    this.#live ??= this.#dial()
    return this.#live
  }

  async #dial(): Promise<Live> {
    try {
      const publisher = new Publisher(this.#inFlight)
      const connection = await this.#dialer.dial(publisher.handlers, this.#ending.signal)
      const live: Live = { connection, publisher, closed: undefined }
      publisher.use(connection)
      void connection.closed.then((closed) => {
        live.closed = closed
        this.#live = undefined
      })
      return live
    } catch (error) {
      this.#live = undefined
      throw error
    }
  }

  #inTurn<Result>(act: () => Promise<Result>): Promise<Result> {
    const turn = this.#turn.then(act)
    this.#turn = turn.catch(() => {})
    return turn
  }
}

/**
 * Where one message is told that nothing can be delivered, that goes for those without an answer too. (Mosquitto 2.0.11 with
 * `max_queued_messages 0` answers the first of several that are not allowed and closes.)
 */
function sameIfBlocked(outcomes: readonly Outcome[]): readonly Outcome[] {
  const block = outcomes.find(({ kind }) => kind === 'blocked')
  if (block === undefined) return outcomes
  return outcomes.map((outcome) => (isUnanswered(outcome) ? block : outcome))
}

const closesOften = 'the broker closes the connection on several messages of this batch'

function unlessAborted<Result>(
  promise: Promise<Result>,
  signal: AbortSignal,
  otherwise: () => Result,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => resolve(otherwise())
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
