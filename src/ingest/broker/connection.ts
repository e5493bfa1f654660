import { Writable } from 'node:stream'
import { type Packet, type Parser, parser } from 'mqtt-packet'
import type { Presented, Publish, Speaker } from '../../core/access.ts'
import { messageOf } from '../../core/errors.ts'
import type { Arrival } from './arrival.ts'
import { Framer, packetType } from './framer.ts'
import type { BrokerLimits } from './limits.ts'
import { connackPacket } from './outgoing.ts'
import type { Session } from './sessions.ts'
import type { Wire } from './wire.ts'

/** Why a socket isn't read at the moment; several reasons may hold at once. */
export const pausedFor = {
  /** CONNECT is being decided. */
  admission: 1,
  /** Its publishes wait for acknowledgement, or for their turn. */
  publishes: 2,
  /** Publishes of all clients together take too much room. */
  memory: 4,
} as const

/** Why we closed a connection, as metrics count it. */
export type ClosedFor =
  | 'protocol'
  | 'size'
  | 'refused'
  | 'timeout'
  | 'keep-alive'
  | 'stalled'
  | 'revoked' // its credential or its permission is gone
  | 'expired' // its credential was good until now
  | 'full'

/** What a connection tells the broker. */
export interface ConnectionEvents {
  /** PUBLISH, PUBREL: the packets that the broker handles itself. */
  packet(connection: BrokerConnection, packet: Packet): void
  closedByUs(connection: BrokerConnection, reason: ClosedFor, detail: string): void
  closed(connection: BrokerConnection): void
}

/** Types that carry a message id: PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE. */
const withMessageId: ReadonlySet<number> = new Set([4, 5, 6, 7, 8, 10])
/** What a client sends (MQTT 3.1.1 table 2.1), beside PUBLISH. */
const fromClient: ReadonlySet<string> = new Set([
  'connect',
  'puback',
  'pubrec',
  'pubrel',
  'pubcomp',
  'subscribe',
  'unsubscribe',
  'disconnect',
])
const pingreq = 0xc0
const pingresp = 0xd0
const pieceBytes = 64 * 1024
type WriteDone = (error?: Error | null) => void
/** How long a far side may take to read our last bytes. */
const lingerMs = 1_000

/**
 * A client's connection, over TCP, TLS or a WebSocket: cuts and parses what comes, and is the stream that goes out. It knows the order
 * of packets that the protocol wants, answers pings, and ends what is malformed; what packets mean is for those who get its events.
 */
export class BrokerConnection extends Writable {
  /** Set on CONNECT. */
  clientId = ''
  speaker: Speaker | undefined
  /** What the client showed, for when the identities change. */
  presented: Presented | undefined
  session: Session | undefined
  /** What is published when it ends without a DISCONNECT. */
  will: Publish | undefined
  /** The client said DISCONNECT: its will is void [MQTT-3.14.4-3]. */
  left = false
  /** Milliseconds; 0 until CONNECT. */
  keepAliveMs = 0
  lastSeen = performance.now()
  readonly since = performance.now()
  readonly arrival: Arrival
  /** Why it ended, where that was our doing. */
  endedFor: ClosedFor | 'taken-over' | 'stopping' | undefined
  /** How often the broker had looked who may stay when its CONNECT came. */
  judgedAt = 0
  /** Whether it is being asked if the client may stay, and has to be asked again after that. */
  renewal: 'none' | 'asked' | 'again' = 'none'
  /** Its CONNECT has come. */
  connecting = false
  /** CONNACK with code 0 is out. */
  ready = false

  readonly #wire: Wire
  readonly #socket: Wire['stream']
  readonly #events: ConnectionEvents
  readonly #limits: BrokerLimits
  readonly #framer: Framer
  readonly #parser: Parser
  #paused = 0
  #rest: Buffer | undefined
  #parsed: Packet | undefined
  #fault: Error | undefined
  #acks: number[] = []
  /** Since when the socket has held the piece that is being sent. */
  #sendingSince: number | undefined

  constructor(wire: Wire, arrival: Arrival, limits: BrokerLimits, events: ConnectionEvents) {
    super({ highWaterMark: pieceBytes })
    const socket = wire.stream
    this.#wire = wire
    this.#socket = socket
    this.arrival = arrival
    this.#limits = limits
    this.#events = events
    this.#parser = parser({ protocolVersion: 4 })
    this.#parser.on('packet', (packet) => {
      if (packet.cmd === 'publish') events.packet(this, packet)
      else this.#parsed = packet
    })
    this.#parser.on('error', (error: Error) => (this.#fault = error))
    const sink = {
      publishes: (bytes: Buffer) => this.#parse(bytes),
      packet: (bytes: Buffer, type: number) => this.#packet(bytes, type),
    }
    this.#framer = new Framer(sink, { control: limits.controlBytes, publish: limits.publishBytes })
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
    socket.on('end', () => this.destroy())
    socket.on('error', () => {})
    socket.on('close', () => this.destroy())
    this.on('error', () => {})
    this.once('close', () => events.closed(this))
  }

  /** Writes what a client sends many of in one turn, all in one piece: `0x40` PUBACK, `0x50` PUBREC, `0x70` PUBCOMP, `0xd0` PINGRESP. */
  acknowledge(kind: 0x40 | 0x50 | 0x70 | 0xd0, messageId = 0): void {
    if (this.#acks.length === 0) process.nextTick(() => this.#flushAcks())
    this.#acks.push(kind, messageId)
  }

  /** Writes an answer; a client that asks and doesn't read the answers is cut off. */
  reply(packet: Buffer): void {
    if (this.destroyed) return
    this.write(packet)
    if (this.backlog > this.#limits.outgoingBytes) this.cut('stalled', 'it sends and does not read')
  }

  /** Writes a PUBLISH. */
  deliver(packet: readonly Buffer[]): void {
    if (this.destroyed) return
    this.cork()
    for (const piece of packet) this.write(piece)
    this.uncork()
  }

  /** Says with CONNACK that the client is in. */
  welcome(sessionPresent: boolean): void {
    this.ready = true
    this.lastSeen = performance.now()
    this.write(connackPacket(0, sessionPresent))
  }

  /** Says with CONNACK that it is not, and ends the connection [MQTT-3.2.2-5]; `returnCode` is not 0. */
  refuse(returnCode: number): void {
    if (this.destroyed) return
    this.write(connackPacket(returnCode, false))
    this.destroy()
  }

  /** After `welcome`: reads what the client has sent meanwhile, and goes on reading. */
  admit(): void {
    this.#framer.release()
    const rest = this.#rest
    this.#rest = undefined
    if (rest !== undefined) this.#take(rest)
    this.unpauseFor('admission')
  }

  pauseFor(reason: keyof typeof pausedFor): void {
    if (this.#paused === 0) this.#socket.pause()
    this.#paused |= pausedFor[reason]
  }

  unpauseFor(reason: keyof typeof pausedFor): void {
    if (this.#paused === 0) return
    this.#paused &= ~pausedFor[reason]
    if (this.#paused > 0) return
    this.lastSeen = performance.now()
    this.#socket.resume()
  }

  /** Whether we, not the client, are the reason that nothing comes. */
  get paused(): boolean {
    return this.#paused !== 0
  }

  /** Bytes that wait for the client to read: our buffer counts what the socket has not sent, too. */
  get backlog(): number {
    return this.writableLength
  }

  /** For how many milliseconds the client has taken nothing of what waits for it. */
  stalledFor(now: number): number {
    return this.#sendingSince === undefined ? 0 : now - this.#sendingSince
  }

  /** Closes for a reason that is ours: logged and counted. What was written before still goes out, unless the client is stalled. */
  cut(reason: ClosedFor, detail: string): void {
    if (this.destroyed) return
    this.endedFor = reason
    this.#events.closedByUs(this, reason, detail)
    if (reason === 'stalled') this.#wire.reset()
    this.destroy()
  }

  /** Ends, and resolves when everybody knows. */
  close(): Promise<void> {
    if (this.closed) return Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.once('close', resolve)
    this.destroy()
    return promise
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: WriteDone): void {
    this.#send(chunk, 0, done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: WriteDone): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), 0, done)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const acks = this.#takeAcks()
    // Never into the middle of another packet.
    if (acks !== undefined && this.#sendingSince === undefined) this.#socket.write(acks)
    this.#rest = undefined
    // What was written may still be on its way; a far side that doesn't read it has a second.
    this.#wire.finish()
    setTimeout(() => this.#socket.destroy(), lingerMs).unref()
    done(error)
  }

  /** In pieces, so that a client that reads slowly can be told from one that doesn't read. */
  #send(bytes: Buffer, from: number, done: WriteDone): void {
    const end = from + pieceBytes
    this.#sendingSince = performance.now()
    this.#socket.write(from === 0 && end >= bytes.length ? bytes : bytes.subarray(from, end), (error) => {
      this.#sendingSince = undefined
      if (error || end >= bytes.length) done(error)
      else this.#send(bytes, end, done)
    })
  }

  #take(chunk: Buffer): void {
    if (this.destroyed) return
    this.lastSeen = performance.now()
    try {
      const used = this.#framer.feed(chunk)
      if (used < chunk.length && !this.destroyed) this.#rest = chunk.subarray(used)
    } catch (error) {
      const detail = messageOf(error)
      this.cut(detail.startsWith('a packet of') ? 'size' : 'protocol', detail)
    }
  }

  /** Feeds our own parser; throws what it complains about. */
  #parse(bytes: Buffer): void {
    if (this.destroyed) return
    if (!this.ready) throw new Error('the first packet must be CONNECT') // [MQTT-3.1.0-1]
    this.#parser.parse(bytes)
    if (this.#fault !== undefined) throw this.#fault
  }

  #packet(bytes: Buffer, type: number): void {
    if (this.destroyed) return
    if (!this.ready && type !== packetType.connect) throw new Error('the first packet must be CONNECT') // [MQTT-3.1.0-1]
    if (this.ready && type === packetType.connect) throw new Error('a second CONNECT') // [MQTT-3.1.0-2]
    // The one packet that clients send without end; there is nothing in it to parse.
    if (bytes.length === 2 && bytes[0] === pingreq) return this.acknowledge(pingresp)
    this.#parsed = undefined
    this.#parser.parse(bytes)
    if (this.#fault !== undefined) throw this.#fault
    // A packet that our parser takes for incomplete is malformed: the framer has given it all its bytes.
    const packet = this.#parsed as Packet | undefined
    if (packet === undefined) throw new Error('malformed packet')
    // [MQTT-2.3.1-1]; the parser says -1 where the packet is too short for one.
    if (withMessageId.has(type) && (packet.messageId ?? 0) < 1) throw new Error('a packet without a message id')
    const malformed = complainAbout(packet)
    if (malformed !== undefined) throw new Error(malformed)
    if (!fromClient.has(packet.cmd)) throw new Error(`a client sends no ${packet.cmd}`)
    if (packet.cmd === 'subscribe' && packet.subscriptions.length > this.#limits.filters) {
      throw new Error(
        `${packet.subscriptions.length} topic filters in one SUBSCRIBE, and at most ${this.#limits.filters} are allowed`,
      )
    }
    if (packet.cmd === 'connect') {
      this.connecting = true
      this.#framer.hold()
      this.pauseFor('admission')
    }
    this.#events.packet(this, packet)
  }

  #flushAcks(): void {
    if (this.destroyed) return
    const acks = this.#takeAcks()
    if (acks !== undefined) this.write(acks)
    if (this.backlog > this.#limits.outgoingBytes) this.cut('stalled', 'it sends and does not read')
  }

  #takeAcks(): Buffer | undefined {
    const acks = this.#acks
    if (acks.length === 0) return undefined
    this.#acks = []
    const bytes = Buffer.allocUnsafe(acks.length * 2)
    let at = 0
    for (let index = 0; index < acks.length; index += 2) {
      // Pairs of kind and message id, as acknowledge() put them.
      const kind = acks[index] as number
      at = bytes.writeUInt8(kind, at)
      at = bytes.writeUInt8(kind === pingresp ? 0 : 2, at)
      if (kind !== pingresp) at = bytes.writeUInt16BE(acks[index + 1] as number, at)
    }
    return bytes.subarray(0, at)
  }
}

/** What our parser lets through and the protocol doesn't. */
function complainAbout(packet: Packet): string | undefined {
  if (packet.cmd === 'connect' && Number(packet.will?.qos) > 2) return 'a last will of QoS 3' // [MQTT-3.1.2-14]
  if (packet.cmd === 'subscribe' && packet.subscriptions.length === 0) return 'a SUBSCRIBE without a filter' // [MQTT-3.8.3-3]
  if (packet.cmd === 'unsubscribe' && packet.unsubscriptions.length === 0) return 'an UNSUBSCRIBE without a filter' // [MQTT-3.10.3-2]
  return undefined
}
