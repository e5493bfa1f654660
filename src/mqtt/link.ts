import type { Socket } from 'node:net'
import { Framer } from './framer.ts'
import { Keepalive } from './keepalive.ts'
import { MalformedPacket } from './malformed.ts'

/** Why a connection has ended, for people; `code` is the reason code of the broker's DISCONNECT, where it sent one. */
export interface Closed {
  /** `us`: we ended it. `broker`: it closed, reset or sent DISCONNECT. `network`: an error, or silence. */
  readonly by: 'us' | 'broker' | 'network'
  readonly reason: string
  readonly code?: number
}

export interface LinkHandlers {
  /** One packet; `framer` points at it. May throw MalformedPacket. */
  packet(framer: Framer): void
  /** Bytes of a DISCONNECT with this reason code, or none on MQTT 3.1.1. */
  disconnect(reasonCode: number): Buffer
  /** A PINGREQ has to be sent now. */
  ping(): void
}

/**
 * An open socket as packets: cuts what comes, gathers what goes out during a turn of the event loop into one write,
 * and stops reading between any two packets when told to.
 */
export class Link {
  readonly #socket: Socket
  readonly #framer: Framer
  readonly #handlers: LinkHandlers
  #keepalive: Keepalive | undefined
  #out: Buffer[] = []
  #flush: NodeJS.Immediate | undefined
  #paused = true
  #draining = false
  #end: Closed | undefined
  readonly closed: Promise<Closed>

  /** The link begins paused. `limit`: most bytes of a packet. */
  constructor(socket: Socket, limit: number, handlers: LinkHandlers) {
    this.#socket = socket
    this.#framer = new Framer(limit)
    this.#handlers = handlers
    socket.pause()
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('end', () => this.#note({ by: 'broker', reason: 'the broker closed the connection' }))
    socket.on('error', (error) => this.#note(closedBy(error)))
    this.closed = new Promise((resolve) => {
      const onClose = (): void => {
        this.#note({ by: 'network', reason: 'the connection was lost' })
        this.#stop()
        if (this.#end !== undefined) resolve(this.#end)
      }
      if (socket.closed) onClose()
      else socket.once('close', onClose)
    })
  }

  get ended(): boolean {
    return this.#end !== undefined
  }

  get paused(): boolean {
    return this.#paused
  }

  /** Nothing is handed over any more, from the next packet on, until `resume`. Keepalive goes on. */
  pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#socket.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#keepalive?.heard()
    if (this.#draining) return
    this.#drain()
    if (!this.#paused) this.#socket.resume()
  }

  startKeepalive(intervalMs: number): void {
    if (intervalMs === 0 || this.#end !== undefined) return
    this.#keepalive = new Keepalive(intervalMs, {
      ping: () => this.#handlers.ping(),
      paused: () => this.#paused,
      dead: () => this.destroy({ by: 'network', reason: 'the broker did not answer PINGREQ' }),
    })
  }

  /** Sends at the end of this turn of the event loop, together with whatever else is sent until then. */
  write(bytes: Buffer): void {
    if (this.#end !== undefined) return
    this.#out.push(bytes)
    this.#flush ??= setImmediate(() => this.#send())
  }

  /** Resolves when the operating system has taken everything that was written; rejects when the link ends before. */
  flushed(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) return reject(new Error(this.#end.reason))
      const onClose = (): void => reject(new Error(this.#end?.reason ?? 'the connection was lost'))
      this.#socket.once('close', onClose)
      this.#send((error) => {
        this.#socket.off('close', onClose)
        if (error) reject(error)
        else resolve()
      })
    })
  }

  /** Sends what is there and `last`, and closes. */
  end(last: Buffer): void {
    if (this.#end !== undefined) return
    this.#out.push(last)
    this.#send()
    this.#note({ by: 'us', reason: 'we closed the connection' })
    this.#keepalive?.stop()
    this.#socket.end()
    // The broker's own end must be read to be noticed.
    this.#socket.resume()
  }

  destroy(reason: Closed): void {
    this.#note(reason)
    this.#stop()
    this.#socket.destroy()
  }

  #note(reason: Closed): void {
    this.#end ??= reason
  }

  #stop(): void {
    this.#keepalive?.stop()
    clearImmediate(this.#flush)
    this.#out = []
  }

  #send(done?: (error?: Error | null) => void): void {
    clearImmediate(this.#flush)
    this.#flush = undefined
    const out = this.#out
    this.#out = []
    const bytes = out.length === 1 && out[0] !== undefined ? out[0] : Buffer.concat(out)
    this.#socket.write(bytes, done)
  }

  #read(chunk: Buffer): void {
    if (this.#end !== undefined) return
    this.#keepalive?.heard()
    this.#framer.feed(chunk)
    this.#drain()
  }

  #drain(): void {
    this.#draining = true
    try {
      while (!this.#paused && this.#end === undefined && this.#framer.next()) this.#handlers.packet(this.#framer)
    } catch (error) {
      if (!(error instanceof MalformedPacket)) throw error
      this.#refuse(error)
    } finally {
      this.#draining = false
    }
  }

  /** Says why, where MQTT 5 lets us, and closes [MQTT-4.13.1-1]. */
  #refuse(error: MalformedPacket): void {
    this.#out.push(this.#handlers.disconnect(error.reasonCode))
    this.#send()
    this.destroy({ by: 'us', reason: `the broker sent something that is not MQTT: ${error.message}` })
  }
}

/** A broker that closes while something of ours is still unread resets the connection. */
function closedBy(error: Error & { readonly code?: unknown }): Closed {
  const reset = error.code === 'ECONNRESET' || error.code === 'EPIPE'
  return reset
    ? { by: 'broker', reason: `the broker closed the connection (${error.message})` }
    : { by: 'network', reason: error.message }
}
