import { Duplex } from 'node:stream'
import { type Packet, type Parser, parser } from 'mqtt-packet'
import type { Presented, Speaker } from '../../core/access.ts'
import { messageOf } from '../../core/errors.ts'
import type { Arrival } from './arrival.ts'
import { Framer, packetType } from './framer.ts'
import type { BrokerLimits } from './limits.ts'
import type { Session } from './sessions.ts'
import type { Wire } from './wire.ts'

/** Why a socket isn't read at the moment; several reasons may hold at once. */
export const pausedFor = {
  /** CONNECT is being decided. */
  admission: 1,
  /** aedes has enough to do. */
  control: 2,
  /** Its publishes wait for acknowledgement, or for their turn. */
  publishes: 4,
  /** Publishes of all clients together take too much room. */
  memory: 8,
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
const packetTypes = { pingreq: 12, pubrel: 6, subscribe: 8, disconnect: 14 } as const
const pingresp = Buffer.from([0xd0, 0])
const pieceBytes = 64 * 1024
type WriteDone = (error?: Error | null) => void
/** How long a far side may take to read our last bytes. */
const lingerMs = 1_000

/**
 * Stands between a socket (TCP, TLS or WebSocket) and aedes, as the stream that aedes sees. Publishing is the broker's own business (see inbound.ts):
 * PUBLISH, PUBREL and PINGREQ never reach aedes, so a ping is answered while acknowledgements wait for the queue. The rest is
 * parsed here first, because a parser that throws inside aedes would end the process.
 */
export class BrokerConnection extends Duplex {
  /** Set on CONNECT. */
  clientId = ''
  speaker: Speaker | undefined
  /** What the client showed, for when the identities change. */
  presented: Presented | undefined
  session: Session | undefined
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
  #promised = 0
  /** Since when the socket has held the piece that is being sent. */
  #sendingSince: number | undefined

  constructor(wire: Wire, arrival: Arrival, limits: BrokerLimits, events: ConnectionEvents) {
    super({ writableHighWaterMark: 64 * 1024, readableHighWaterMark: limits.controlBytes * 2 })
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
    socket.on('end', () => this.push(null))
    socket.on('error', () => {})
    socket.on('close', () => this.destroy())
    this.on('error', () => {})
    this.once('close', () => events.closed(this))
  }

  /** Writes acknowledgements (`0x40` PUBACK, `0x50` PUBREC, `0x70` PUBCOMP), all of one turn in one piece. */
  acknowledge(kind: 0x40 | 0x50 | 0x70, messageId: number): void {
    if (this.#acks.length === 0) process.nextTick(() => this.#flushAcks())
    this.#acks.push(kind, messageId)
  }

  /** CONNACK is out: what the client sent meanwhile is read now. */
  admit(): void {
    this.ready = true
    this.lastSeen = performance.now()
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
    return this.writableLength + this.#promised
  }

  /** Counts a delivery into the backlog that aedes will write in a moment; many may be promised in one turn. */
  promise(bytes: number): void {
    if (this.#promised === 0) setImmediate(() => setImmediate(() => (this.#promised = 0)))
    this.#promised += bytes
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

  override _read(): void {
    this.unpauseFor('control')
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: WriteDone): void {
    this.#send(chunk, 0, done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: WriteDone): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), 0, done)
  }

  override _final(done: () => void): void {
    this.#socket.end(done)
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
    this.#parsed = undefined
    this.#parser.parse(bytes)
    if (this.#fault !== undefined) throw this.#fault
    // A packet that our parser takes for incomplete is malformed: the framer has given it all its bytes.
    const packet = this.#parsed as Packet | undefined
    if (packet === undefined) throw new Error('malformed packet')
    // [MQTT-2.3.1-1]; the parser says -1 where the packet is too short for one.
    if (withMessageId.has(type) && (packet.messageId ?? 0) < 1) throw new Error('a packet without a message id')
    if (type === packetTypes.pingreq) return this.#answerPing()
    if (type === packetTypes.pubrel) return this.#events.packet(this, packet)
    if (packet.cmd === 'subscribe' && packet.subscriptions.length > this.#limits.filters) {
      throw new Error(
        `${packet.subscriptions.length} topic filters in one SUBSCRIBE, and at most ${this.#limits.filters} are allowed`,
      )
    }
    if (type === packetTypes.disconnect) this.left = true
    if (type === packetType.connect) {
      this.#framer.hold()
      this.pauseFor('admission')
    }
    if (!this.push(bytes)) this.pauseFor('control')
  }

  #answerPing(): void {
    this.write(pingresp)
    if (this.backlog > this.#limits.outgoingBytes) this.cut('stalled', 'it sends and does not read')
  }

  #flushAcks(): void {
    if (this.destroyed) return
    const acks = this.#takeAcks()
    if (acks !== undefined) this.write(acks)
    if (this.backlog > this.#limits.outgoingBytes)
      this.cut('stalled', 'it publishes and does not read acknowledgements')
  }

  #takeAcks(): Buffer | undefined {
    const acks = this.#acks
    if (acks.length === 0) return undefined
    this.#acks = []
    const bytes = Buffer.allocUnsafe(acks.length * 2)
    for (let index = 0; index < acks.length; index += 2) {
      // Pairs of kind and message id, as acknowledge() put them.
      bytes[index * 2] = acks[index] as number
      bytes[index * 2 + 1] = 2
      bytes.writeUInt16BE(acks[index + 1] as number, index * 2 + 2)
    }
    return bytes
  }
}
