import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { generate, type Packet, parser } from 'mqtt-packet'
import type { Properties } from '../../src/core/message.ts'
import { decodePublish } from '../../src/mqtt/decode.ts'
import { encodeAcknowledgement, encodePublish } from '../../src/mqtt/encode.ts'
import { Framer } from '../../src/mqtt/framer.ts'
import { MalformedPacket } from '../../src/mqtt/malformed.ts'
import type { MqttVersion } from '../../src/mqtt/packet-type.ts'

function decode(bytes: Buffer, version: MqttVersion) {
  const framer = new Framer(1_000_000)
  framer.feed(bytes)
  assert.ok(framer.next())
  return decodePublish(framer, version)
}

function parse(bytes: Buffer, protocolVersion: MqttVersion): Packet {
  const found: Packet[] = []
  const reader = parser({ protocolVersion })
  reader.on('packet', (packet) => found.push(packet))
  reader.on('error', (error) => assert.fail(String(error)))
  reader.parse(bytes)
  const [first] = found
  assert.ok(first !== undefined && found.length === 1)
  return first
}

const text = fc.string({ unit: 'grapheme', maxLength: 40 }).filter((value) => !value.includes('\0'))
const topic = text.filter((value) => value !== '' && !/[+#]/.test(value))
const properties: fc.Arbitrary<Properties> = fc.record(
  {
    payloadFormatIndicator: fc.boolean(),
    messageExpiryInterval: fc.integer({ min: 0, max: 0xffffffff }),
    contentType: text,
    responseTopic: topic,
    correlationData: fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes).toString('base64')),
    userProperties: fc.array(fc.tuple(fc.oneof(text, fc.constantFrom('a', '__proto__', 'constructor')), text), {
      minLength: 1,
      maxLength: 5,
    }),
  },
  { requiredKeys: [], noNullPrototype: true },
)
const message = fc.record({
  topic,
  payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  qos: fc.constantFrom(0 as const, 1 as const),
  retain: fc.boolean(),
  properties,
})

describe('PUBLISH', () => {
  it('is read as it was written, with all properties in their order', () => {
    fc.assert(
      fc.property(message, fc.integer({ min: 1, max: 65_535 }), (written, id) => {
        const { properties = {}, ...read } = decode(encodePublish(written, id, 5), 5)
        assert.deepEqual({ ...read, properties }, { ...written, packetId: written.qos === 0 ? 0 : id })
      }),
    )
  })

  it('is what mqtt-packet reads, in both versions', () => {
    fc.assert(
      fc.property(message, fc.constantFrom<MqttVersion>(4, 5), (written, version) => {
        const packet = parse(encodePublish(written, 7, version), version)
        assert.ok(packet.cmd === 'publish')
        assert.equal(packet.topic, written.topic)
        assert.deepEqual(Buffer.from(packet.payload), written.payload)
        assert.deepEqual([packet.qos, packet.retain, packet.dup], [written.qos, written.retain, false])
        if (version === 5) {
          assert.equal(packet.properties?.messageExpiryInterval, written.properties.messageExpiryInterval)
          assert.equal(packet.properties?.responseTopic, written.properties.responseTopic)
        }
      }),
    )
  })

  it('is read as mqtt-packet writes it', () => {
    fc.assert(
      fc.property(message, fc.constantFrom<MqttVersion>(4, 5), ({ topic, payload, qos, retain }, version) => {
        const bytes = generate(
          { cmd: 'publish', topic, payload, qos, retain, dup: false, messageId: 9 },
          { protocolVersion: version },
        )
        assert.deepEqual(decode(bytes, version), { topic, payload, qos, retain, packetId: qos === 0 ? 0 : 9 })
      }),
    )
  })

  it('keeps a user property that comes twice, though its first value is empty', () => {
    const userProperties = [
      ['thing', ''],
      ['thing', 'd-2'],
    ] as const
    const bytes = encodePublish(
      { topic: 'a', payload: Buffer.alloc(0), qos: 0, retain: false, properties: { userProperties } },
      0,
      5,
    )
    assert.deepEqual(decode(bytes, 5).properties, { userProperties })
  })

  const bad: readonly [what: string, hex: string, message: RegExp][] = [
    ['both QoS bits', '36050001610001', /both QoS bits/],
    ['packet id 0', '3206000161000000', /packet id 0/],
    ['a topic that is longer than the packet', '3005ffff616161', /ends too early/],
    ['a topic with U+0000', '300400026100', /U\+0000/],
    ['a topic that is not UTF-8', '3005000261ff00', /not UTF-8/],
    ['a topic alias', '300700016103230001', /property 0x23/],
    ['a property that does not belong there', '3006000161021100', /property 0x11/],
    ['contentType twice', '300c000161080300017803000179', /contentType twice/],
    ['properties that are longer than the packet', '30040001617f', /ends too early/],
  ]
  for (const [what, hex, message] of bad) {
    it(`is malformed with ${what}`, () => {
      assert.throws(() => decode(Buffer.from(hex, 'hex'), 5), { name: 'MalformedPacket', message })
    })
  }

  it('is read, or refused as malformed, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.integer({ min: 0, max: 15 }), (body, flags) => {
        try {
          const buffer = Buffer.from(body)
          decodePublish({ buffer, start: 0, end: buffer.length, flags, oversize: 0 }, 5)
        } catch (error) {
          assert.ok(error instanceof MalformedPacket)
        }
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('PUBACK', () => {
  it('carries a reason on MQTT 5 only', () => {
    assert.equal(encodeAcknowledgement(4, 0x0102, 0, 5).toString('hex'), '40020102')
    assert.equal(encodeAcknowledgement(4, 0x0102, 0x87, 5).toString('hex'), '4003010287')
    assert.equal(encodeAcknowledgement(4, 0x0102, 0x87, 4).toString('hex'), '40020102')
    const packet = parse(encodeAcknowledgement(4, 5, 0x87, 5), 5)
    assert.ok(packet.cmd === 'puback' && packet.reasonCode === 0x87 && packet.messageId === 5)
  })
})
