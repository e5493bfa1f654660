import { equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { generate, type Packet } from 'mqtt-packet'
import { createMqttBroker } from '../../../src/ingest/mqtt-broker.ts'
import { until } from '../../support/cleanup.ts'
import { countedMetrics, fakeAccept, fakeAccess, linesLog } from '../../support/doors.ts'
import { connectPacket, connectRaw, openRaw } from '../../support/raw-mqtt.ts'

const topic = fc.constantFrom('a', 'a/b', '+/b', '#', 'a/#', '$SYS/x', '', '__proto__', '\0', 'x'.repeat(300), 'é/ü')
const messageId = fc.constantFrom(0, 1, 2, 3, 65_535)
const qos = fc.constantFrom<(0 | 1 | 2)[]>(0, 1, 2)

const packet: fc.Arbitrary<Packet> = fc.oneof(
  fc.record({
    cmd: fc.constant('publish' as const),
    topic,
    payload: fc.string(),
    qos,
    messageId,
    dup: fc.boolean(),
    retain: fc.boolean(),
  }),
  fc.record({
    cmd: fc.constant('subscribe' as const),
    messageId,
    subscriptions: fc.array(fc.record({ topic, qos }), { minLength: 1, maxLength: 10 }),
  }),
  fc.record({
    cmd: fc.constant('unsubscribe' as const),
    messageId,
    unsubscriptions: fc.array(topic, { minLength: 1, maxLength: 3 }),
  }),
  fc.record({ cmd: fc.constantFrom('puback', 'pubrec', 'pubrel', 'pubcomp') as fc.Arbitrary<'puback'>, messageId }),
  fc.constantFrom<Packet>({ cmd: 'pingreq' }, { cmd: 'disconnect' }, { cmd: 'pingresp' }, connectPacket('d-2')),
)

function written(one: Packet): Buffer {
  try {
    return Buffer.from(generate(one))
  } catch {
    // mqtt-packet doesn't write everything that can be said.
    return Buffer.from([0x30, 3, 0, 1, 0x23])
  }
}

/** Packets of which some bytes were changed, left out or put in. */
const mutated = fc
  .tuple(fc.array(packet, { maxLength: 12 }), fc.array(fc.tuple(fc.nat(), fc.nat(255), fc.nat(2)), { maxLength: 4 }))
  .map(([packets, changes]) => {
    const bytes = Array.from(Buffer.concat(packets.map(written)))
    for (const [at, value, how] of changes)
      bytes.splice(at % (bytes.length + 1), how === 0 ? 0 : 1, ...(how === 2 ? [] : [value]))
    return Buffer.from(bytes)
  })
const stream = fc.oneof(
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  mutated,
)

test('no bytes crash the broker, stall it or grow it, before CONNECT and after', async (t) => {
  const access = fakeAccess(['d-1', 'd-2', 'd-3'])
  const log = linesLog()
  const metrics = countedMetrics()
  const limits = { stallMs: 500, connectMs: 2_000 }
  const broker = await createMqttBroker({ access: () => access, accept: fakeAccept().accept, limits, log, metrics })
  await broker.listen({ host: '127.0.0.1', port: 0 })
  t.after(() => broker.close(200))
  const port = broker.address()?.port ?? 0
  const witness = await connectRaw(t, port, 'd-3')
  let count = 0
  const attack = fc.asyncProperty(
    fc.array(fc.tuple(stream, fc.boolean(), fc.boolean()), { minLength: 10, maxLength: 10 }),
    async (all) => {
      const clients = all.map(([bytes, connects, clean], index) => {
        const client = openRaw(t, port)
        if (connects) client.send(connectPacket('d-1', { clientId: `f-${index}`, clean }))
        client.send(bytes)
        return client
      })
      // The witness is served while they are at it; then they leave in the middle of whatever they are in.
      count += 1
      const id = (count % 65_000) + 1
      witness.publish('witness', 1, id)
      await until('the witness is served', () => witness.ids('puback').at(-1) === id)
      for (const { socket } of clients) socket.destroy()
    },
  )
  await fc.assert(attack, { numRuns: 100 })
  await until('only the witness is left', () => metrics.total('sluice_broker_clients') === 1)
  equal(witness.closed(), false)
  ok(
    !log.lines.some((line) => line.includes('by itself') || line.includes('broker failed')),
    log.lines.join('\n').slice(-2_000),
  )
})
