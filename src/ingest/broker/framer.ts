/** The packet types that the framer tells apart (MQTT 3.1.1 §2.2.1). */
export const packetType = { connect: 1, publish: 3 } as const

/** Where the framer puts what it has cut. */
export interface FrameSink {
  /** Bytes of one or several PUBLISH packets, whole or in parts, in order. */
  publishes(bytes: Buffer): void
  /** One whole packet of any other type. */
  packet(bytes: Buffer, type: number): void
}

/** Most bytes that a packet may have behind its fixed header. */
export interface FrameLimits {
  readonly control: number
  readonly publish: number
}

/**
 * Cuts a byte stream into MQTT packets by their fixed headers (MQTT 3.1.1 §2.2) and looks at nothing else, so that a packet
 * that is too large is refused before any of it is kept. PUBLISH packets are passed on as they come, because only a parser
 * that collects them needs them whole; the others are small and are passed on whole.
 */
export class Framer {
  readonly #sink: FrameSink
  readonly #limits: FrameLimits
  /** Bytes of the fixed header so far; empty between packets and inside a body. */
  #header: number[] = []
  #type = 0
  /** Bytes of the body still to come. */
  #left = 0
  /** Parts of a control packet so far. */
  #parts: Buffer[] = []
  #held = false

  constructor(sink: FrameSink, limits: FrameLimits) {
    this.#sink = sink
    this.#limits = limits
  }

  /** Makes the running `feed` stop behind the current packet, and further ones take nothing, until `release`. */
  hold(): void {
    this.#held = true
  }

  release(): void {
    this.#held = false
  }

  /** Takes the next bytes and says how many it has used: all, unless it is held. Throws an Error on a malformed or oversize packet. */
  feed(chunk: Buffer): number {
    let at = 0
    let run = -1 // where the current run of PUBLISH bytes began in this chunk
    const flush = (end: number): void => {
      if (run !== -1) this.#sink.publishes(chunk.subarray(run, end))
      run = -1
    }
    while (at < chunk.length && !this.#held) {
      if (this.#left === 0) {
        const start = at
        at = this.#readHeader(chunk, at)
        if (this.#type === packetType.publish) {
          if (run === -1) run = start
          continue
        }
        flush(start)
        if (this.#header.length > 0) continue
        if (this.#left === 0) this.#finish()
        continue
      }
      const end = Math.min(chunk.length, at + this.#left)
      this.#left -= end - at
      if (this.#type === packetType.publish) {
        if (run === -1) run = at
      } else {
        this.#parts.push(chunk.subarray(at, end))
        if (this.#left === 0) this.#finish()
      }
      at = end
    }
    flush(at)
    return at
  }

  #readHeader(chunk: Buffer, from: number): number {
    let at = from
    while (at < chunk.length) {
      // `at` is within the chunk.
      const byte = chunk[at++] as number
      if (this.#header.length === 0) this.#type = byte >> 4
      this.#header.push(byte)
      if (this.#header.length === 1) continue
      if (byte < 0x80) {
        this.#startBody()
        break
      }
      if (this.#header.length === 5) throw new Error('malformed remaining length')
    }
    return at
  }

  #startBody(): void {
    let length = 0
    for (let index = this.#header.length - 1; index > 0; index -= 1)
      length = length * 128 + ((this.#header[index] ?? 0) & 0x7f)
    const limit = this.#type === packetType.publish ? this.#limits.publish : this.#limits.control
    if (length > limit) throw new Error(`a packet of ${length} bytes, and at most ${limit} are allowed`)
    if (this.#type !== packetType.publish) this.#parts = [Buffer.from(this.#header)]
    this.#header = []
    this.#left = length
  }

  #finish(): void {
    const bytes = Buffer.concat(this.#parts)
    this.#parts = []
    this.#sink.packet(bytes, this.#type)
  }
}
