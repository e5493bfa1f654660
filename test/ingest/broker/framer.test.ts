import { deepEqual, equal, throws } from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { generate } from 'mqtt-packet'
import { Framer } from '../../../src/ingest/broker/framer.ts'

const limits = { control: 1_000, publish: 100_000 }

function frame(chunks: readonly Buffer[], bounds = limits) {
  const publishes: Buffer[] = []
  const packets: string[] = []
  const sink = {
    publishes: (bytes: Buffer) => void publishes.push(bytes),
    packet: (bytes: Buffer, type: number) => void packets.push(`${type}:${bytes.toString('hex')}`),
  }
  const framer = new Framer(sink, bounds)
  let used = 0
  for (const chunk of chunks) used += framer.feed(chunk)
  return { publishes: Buffer.concat(publishes), packets, used, calls: publishes.length }
}

const publish = (bytes: number): Buffer =>
  Buffer.from(
    generate({ cmd: 'publish', topic: 't', payload: Buffer.alloc(bytes, 1), qos: 0, dup: false, retain: false }),
  )
const ping = Buffer.from([0xc0, 0])
const puback = Buffer.from([0x40, 2, 0, 1])

test('cuts any packets at any places into the same', () => {
  const packet = fc.oneof(
    fc.nat(20_000).map(publish),
    fc.constantFrom(ping, puback, Buffer.concat([Buffer.from([0x82, 0x90, 0x01]), Buffer.alloc(144)])),
  )
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 8 }), (packets, cuts) => {
      const bytes = Buffer.concat(packets)
      const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
      const chunks = places.slice(1).map((end, index) => bytes.subarray(places[index], end))
      const { publishes, packets: others } = frame(chunks)
      deepEqual(publishes, Buffer.concat(packets.filter((one) => one[0] === 0x30)))
      deepEqual(
        others,
        packets.filter((one) => one[0] !== 0x30).map((one) => `${(one[0] ?? 0) >> 4}:${one.toString('hex')}`),
      )
    }),
  )
})

test('passes a run of publishes on in one piece', () => {
  equal(frame([Buffer.concat([publish(1), publish(2), publish(3), ping, publish(4)])]).calls, 2)
})

test('refuses a packet that is too large by its header alone', () => {
  throws(() => frame([Buffer.from([0x10, 0xe9, 0x07])]), /a packet of 1001 bytes, and at most 1000/)
  throws(() => frame([Buffer.from([0x30, 0xa1, 0x8d, 0x06])]), /at most 100000/)
  throws(() => frame([Buffer.from([0x10]), Buffer.from([0xff, 0xff, 0xff]), Buffer.from([0xff])]), /malformed/)
  equal(frame([Buffer.from([0x10, 0xe8, 0x07]), Buffer.alloc(999)]).packets.length, 0)
})

test('stops behind a packet when it is held', () => {
  const seen: number[] = []
  const framer: Framer = new Framer(
    {
      publishes: () => {},
      packet: (bytes) => {
        seen.push(bytes.length)
        framer.hold()
      },
    },
    limits,
  )
  const chunk = Buffer.concat([puback, ping, ping])
  equal(framer.feed(chunk), 4)
  equal(framer.feed(chunk.subarray(4)), 0)
  framer.release()
  equal(framer.feed(chunk.subarray(4)), 2)
  deepEqual(seen, [4, 2])
})

test('never throws anything but its two complaints', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 50 })), (chunks) => {
      try {
        frame(chunks.map((chunk) => Buffer.from(chunk)))
      } catch (error) {
        equal(/^(?:Error: malformed|Error: a packet of)/.test(String(error)), true, String(error))
      }
    }),
  )
})
