import { MalformedPacket } from './malformed.ts'
import { packetType } from './packet-type.ts'

const empty = Buffer.alloc(0)

/**
 * Cuts a byte stream into MQTT packets by their fixed headers (MQTT 5 §2.1) and looks at nothing else. One packet at a
 * time is asked for, so that a reader can stop between any two.
 *
 * A PUBLISH over the limit is not an error: a client that closed for it would get the same packet again on every
 * reconnect. It is cut to its first `limit` bytes, marked `oversize`, and the rest is skipped without being kept.
 */
export class Framer {
  readonly #limit: number
  #buffer: Buffer = empty
  #at = 0
  /** Chunks behind `#buffer` that don't complete the packet yet, joined once instead of with every chunk. */
  #more: Buffer[] = []
  #have = 0
  #need = 2
  /** Bytes of an oversize packet still to be skipped. */
  #skip = 0

  /** The packet that `next` found; valid until the next call. The body is `buffer` from `start` to `end`. */
  type = 0
  flags = 0
  buffer: Buffer = empty
  start = 0
  end = 0
  /** Bytes the body has in truth, where it is over the limit; else 0. */
  oversize = 0

  /** `limit`: most bytes behind the fixed header. */
  constructor(limit: number) {
    this.#limit = limit
  }

  feed(chunk: Buffer): void {
    let rest = chunk
    if (this.#skip > 0) {
      const skipped = Math.min(this.#skip, chunk.length)
      this.#skip -= skipped
      rest = chunk.subarray(skipped)
    }
    if (rest.length === 0) return
    if (this.#have === 0) this.#buffer = rest
    else this.#more.push(rest)
    if (this.#have === 0) this.#at = 0
    this.#have += rest.length
  }

  /** Finds the next packet; false when it isn't whole yet. Throws MalformedPacket. */
  next(): boolean {
    if (this.#have < this.#need) return false
    if (this.#more.length > 0) this.#join()
    const { length, bytes } = this.#readLength()
    if (bytes === 0) return this.#wait(this.#have + 1)
    // #readLength has seen this byte.
    const first = this.#buffer[this.#at] as number
    const publish = first >> 4 === packetType.publish
    if (length > this.#limit && !publish) {
      throw new MalformedPacket(`a packet of ${length} bytes, and at most ${this.#limit} are allowed`, 0x95)
    }
    const kept = Math.min(length, this.#limit)
    if (this.#have < 1 + bytes + kept) return this.#wait(1 + bytes + kept)

    this.type = first >> 4
    this.flags = first & 0x0f
    this.buffer = this.#buffer
    this.start = this.#at + 1 + bytes
    this.end = this.start + kept
    this.oversize = length > kept ? length : 0
    this.#consume(1 + bytes + length)
    return true
  }

  #wait(bytes: number): false {
    this.#need = bytes
    return false
  }

  #join(): void {
    this.#buffer = Buffer.concat([this.#buffer.subarray(this.#at), ...this.#more])
    this.#at = 0
    this.#more = []
  }

  /** The remaining length (MQTT 5 §1.5.5) and how many bytes it takes; 0 bytes: not whole yet. */
  #readLength(): { length: number; bytes: number } {
    let length = 0
    for (let bytes = 1; bytes <= 4; bytes += 1) {
      if (this.#have < 1 + bytes) return { length: 0, bytes: 0 }
      const byte = this.#buffer[this.#at + bytes] as number // within what we have
      length += (byte & 0x7f) * 128 ** (bytes - 1)
      if (byte < 0x80) return { length, bytes }
    }
    throw new MalformedPacket('a remaining length of more than four bytes')
  }

  #consume(bytes: number): void {
    const here = Math.min(bytes, this.#have)
    this.#skip = bytes - here
    this.#have -= here
    this.#at += here
    this.#need = 2
    // Nothing is held on to that isn't needed: the packet found keeps its own reference.
    if (this.#have === 0) this.#buffer = empty
  }
}
