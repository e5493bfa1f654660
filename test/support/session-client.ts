import { connect, type Socket } from 'node:net'
import { generate, type IPublishPacket, type Packet, parser } from 'mqtt-packet'
import { connectPacket } from './raw-mqtt.ts'

/** A message as the client's application got it. */
export interface Received {
  readonly payload: string
  readonly topic: string
  readonly qos: number
  readonly dup: boolean
  /** The connection that brought it, counted from 1. */
  readonly connection: number
}

/** A publish of the client that isn't done. */
interface Sending {
  readonly payload: string
  readonly qos: 1 | 2
  readonly messageId: number
  isReleased: boolean
}

/**
 * A client that keeps its session as MQTT 3.1.1 wants (§4.1, §4.3, §4.4), and whose connection may be broken at any moment. What
 * has come lies in `inbox` until the test lets it be handled; what lies there when the connection ends has never been seen.
 */
export class SessionClient {
  readonly received: Received[] = []
  /** What the broker did and may not. */
  readonly faults: string[] = []
  readonly #port: number
  readonly #name: string
  readonly #clientId: string
  readonly #topic: string
  #socket: Socket | undefined
  #inbox: Packet[] = []
  #waits = new Map<string, () => void>()
  /** Handles everything at once. */
  #isEager = true
  #connections = 0
  /** QoS 2 message ids that have come and are not released. */
  readonly #held = new Set<number>()
  #sending: Sending[] = []
  #lastId = 0

  constructor(options: { port: number; name: string; clientId: string; topic: string }) {
    this.#port = options.port
    this.#name = options.name
    this.#clientId = options.clientId
    this.#topic = options.topic
  }

  get isConnected(): boolean {
    return this.#socket !== undefined
  }

  /** How many of its own publishes are not done. */
  get sending(): number {
    return this.#sending.length
  }

  /** How many QoS 2 message ids the broker has not released. */
  get held(): number {
    return this.#held.size
  }

  /** Connects, and where it is connected takes itself over; sends again what is not done. */
  async connect(): Promise<void> {
    const socket = connect(this.#port, '127.0.0.1')
    socket.setNoDelay()
    socket.on('error', () => {})
    this.#inbox = []
    this.#waits = new Map()
    this.#socket = socket
    this.#connections += 1
    const reader = parser({ protocolVersion: 4 })
    reader.on('packet', (packet) => void (this.#socket === socket && this.#got(packet)))
    socket.on('data', (chunk: Buffer) => reader.parse(chunk))
    socket.on('close', () => {
      if (this.#socket === socket) this.breakOff()
    })
    this.#send(connectPacket(this.#name, { clientId: this.#clientId, clean: false }))
    await this.#wait('connack')
    for (const sending of this.#sending) this.#publish(sending, true)
  }

  /** Ends the connection; a reset throws away what is on its way in both directions. */
  breakOff(how: 'reset' | 'close' = 'close'): void {
    const socket = this.#socket
    this.#socket = undefined
    this.#inbox = []
    if (how === 'reset') socket?.resetAndDestroy()
    else socket?.destroy()
    for (const resolve of this.#waits.values()) resolve()
  }

  /** Resolves when the broker has answered, to false where the connection ended before. */
  async subscribe(topic: string, qos: 0 | 1 | 2): Promise<boolean> {
    this.#send({ cmd: 'subscribe', messageId: this.#nextId(), subscriptions: [{ topic, qos }] })
    await this.#wait('suback')
    return this.isConnected
  }

  async unsubscribe(topic: string): Promise<boolean> {
    this.#send({ cmd: 'unsubscribe', messageId: this.#nextId(), unsubscriptions: [topic] })
    await this.#wait('unsuback')
    return this.isConnected
  }

  /** Publishes; tries until it is done, over connections. */
  publish(payload: string, qos: 1 | 2): void {
    const sending = { payload, qos, messageId: this.#nextId(), isReleased: false }
    this.#sending.push(sending)
    this.#publish(sending, false)
  }

  /** Handles so many packets that have come. */
  handle(count: number): void {
    for (const packet of this.#inbox.splice(0, count)) this.#handle(packet)
  }

  /** Whether what comes is handled at once from now on. */
  set eager(isEager: boolean) {
    this.#isEager = isEager
    if (isEager) this.handle(this.#inbox.length)
  }

  #got(packet: Packet): void {
    if (packet.cmd === 'connack' && packet.sessionPresent !== this.#connections > 1)
      this.faults.push(`session present ${packet.sessionPresent} at connection ${this.#connections}`)
    this.#waits.get(packet.cmd)?.()
    if (this.#isEager) this.#handle(packet)
    else this.#inbox.push(packet)
  }

  #handle(packet: Packet): void {
    const { messageId = 0 } = packet
    if (packet.cmd === 'publish') return this.#take(packet, messageId)
    if (packet.cmd === 'pubrel') {
      this.#held.delete(messageId)
      return this.#send({ cmd: 'pubcomp', messageId })
    }
    const own = this.#sending.find((sending) => sending.messageId === messageId)
    if (packet.cmd === 'pubrec') {
      if (own !== undefined) own.isReleased = true
      return this.#send({ cmd: 'pubrel', messageId })
    }
    if (packet.cmd === 'puback' || packet.cmd === 'pubcomp')
      this.#sending = this.#sending.filter((sending) => sending !== own)
  }

  #take({ topic, payload, qos, dup }: IPublishPacket, messageId: number): void {
    const isRepeated = qos === 2 && this.#held.has(messageId)
    if (isRepeated && !dup) this.faults.push(`id ${messageId} again, while it is held`)
    if (!isRepeated) this.received.push({ payload: String(payload), topic, qos, dup, connection: this.#connections })
    if (qos === 2) this.#held.add(messageId)
    if (qos > 0) this.#send({ cmd: qos === 1 ? 'puback' : 'pubrec', messageId })
  }

  #publish({ payload, qos, messageId, isReleased }: Sending, dup: boolean): void {
    if (isReleased) this.#send({ cmd: 'pubrel', messageId })
    else this.#send({ cmd: 'publish', topic: this.#topic, payload, qos, messageId, dup, retain: false })
  }

  #nextId(): number {
    do this.#lastId = (this.#lastId % 100) + 1
    while (this.#sending.some(({ messageId }) => messageId === this.#lastId))
    return this.#lastId
  }

  #send(packet: Packet): void {
    this.#socket?.write(generate(packet))
  }

  #wait(cmd: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    if (this.isConnected) this.#waits.set(cmd, resolve)
    else resolve()
    return promise
  }
}
