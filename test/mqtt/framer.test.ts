import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Framer } from '../../src/mqtt/framer.ts'
import { MalformedPacket } from '../../src/mqtt/malformed.ts'

interface Found {
  readonly type: number
  readonly flags: number
  readonly body: string
  readonly oversize: number
}

function packet(type: number, flags: number, body: Buffer): Buffer {
  const length: number[] = []
  for (let left = body.length; ;) {
    length.push((left % 128) | (left >= 128 ? 0x80 : 0))
    left = Math.floor(left / 128)
    if (left === 0) break
  }
  return Buffer.concat([Buffer.from([(type << 4) | flags, ...length]), body])
}

/** Cuts `bytes` at the places and feeds the pieces. */
function frame(limit: number, bytes: Buffer, places: readonly number[]): Found[] {
  const framer = new Framer(limit)
  const found: Found[] = []
  const cuts = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  for (const [index, from] of cuts.entries()) {
    const to = cuts[index + 1]
    if (to === undefined) break
    framer.feed(bytes.subarray(from, to))
    while (framer.next()) {
      const { type, flags, buffer, start, end, oversize } = framer
      found.push({ type, flags, body: buffer.toString('hex', start, end), oversize })
    }
  }
  return found
}

const packets = fc.array(
  fc.record({
    type: fc.integer({ min: 1, max: 15 }),
    flags: fc.integer({ min: 0, max: 15 }),
    body: fc.uint8Array({ maxLength: 300 }),
  }),
  { maxLength: 20 },
)

describe('framer', () => {
  it('finds every packet, however the stream is cut', () => {
    fc.assert(
      fc.property(packets, fc.array(fc.nat(), { maxLength: 30 }), (written, places) => {
        const bytes = Buffer.concat(written.map(({ type, flags, body }) => packet(type, flags, Buffer.from(body))))
        const wanted = written.map(({ type, flags, body }) => ({
          type,
          flags,
          body: Buffer.from(body).toString('hex'),
          oversize: 0,
        }))
        assert.deepEqual(frame(1_000, bytes, places), wanted)
      }),
    )
  })

  it('cuts a PUBLISH over the limit, says how long it was, and finds the next packet', () => {
    fc.assert(
      fc.property(fc.integer({ min: 11, max: 20_000 }), fc.array(fc.nat(), { maxLength: 10 }), (size, places) => {
        const bytes = Buffer.concat([packet(3, 2, Buffer.alloc(size, 7)), packet(13, 0, Buffer.alloc(0))])
        assert.deepEqual(frame(10, bytes, places), [
          { type: 3, flags: 2, body: '07'.repeat(10), oversize: size },
          { type: 13, flags: 0, body: '', oversize: 0 },
        ])
      }),
    )
  })

  it('refuses any other packet over the limit by its header alone', () => {
    const framer = new Framer(10)
    framer.feed(packet(9, 0, Buffer.alloc(11)).subarray(0, 2))
    assert.throws(
      () => framer.next(),
      (error) => error instanceof MalformedPacket && error.reasonCode === 0x95,
    )
  })

  it('refuses a remaining length of five bytes', () => {
    const framer = new Framer(10)
    framer.feed(Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01]))
    assert.throws(() => framer.next(), MalformedPacket)
  })
})
