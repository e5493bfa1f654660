import type { IConnectPacket, IPublishPacket } from 'mqtt-packet'
import type { Qos } from '../../src/core/message.ts'
import type { BrokerLimits } from '../../src/ingest/broker/limits.ts'
import { createMqttBroker, type MqttBroker } from '../../src/ingest/mqtt-broker.ts'
import { type Scope, until } from './cleanup.ts'
import { countedMetrics, fakeAccept, fakeAccess, linesLog } from './doors.ts'
import { connectRaw, type RawMqtt } from './raw-mqtt.ts'

/** An embedded broker on a port of its own, for principals d-1 to d-3; what stands behind it is the test's. */
export async function openBroker(scope: Scope, limits: Partial<BrokerLimits> = {}) {
  const access = fakeAccess(['d-1', 'd-2', 'd-3'])
  const sink = fakeAccept()
  const metrics = countedMetrics()
  const log = linesLog()
  const broker = await createMqttBroker({ access: () => access, accept: sink.accept, limits, log, metrics })
  await broker.listen({ host: '127.0.0.1', port: 0 })
  scope.after(() => broker.close(200))
  const port = broker.address()?.port ?? 0
  const dropped = (reason: string): number => metrics.total('sluice_broker_messages_dropped_total', { reason })
  return { broker, port, access, sink, metrics, log, dropped }
}

/** Connects d-2 with a session that is kept. */
export function kept(scope: Scope, port: number, extra: Partial<IConnectPacket> = {}) {
  return connectRaw(scope, port, 'd-2', { clean: false, ...extra })
}

/** Hands messages to subscribers, as a door does when they have been accepted. */
export function publish(broker: MqttBroker, topic: string, qos: Qos, ...payloads: (string | Buffer)[]): void {
  for (const payload of payloads) broker.distribute({ topic, payload: Buffer.from(payload), qos, retain: false })
}

/** The PUBLISH packets that have come, in order. */
export function publishes(client: RawMqtt): IPublishPacket[] {
  return client.got.flatMap((packet) => (packet.cmd === 'publish' ? [packet] : []))
}

/** Whether CONNACK said that there was a session. */
export function wasPresent({ got: [connack] }: RawMqtt): boolean {
  return connack?.cmd === 'connack' && connack.sessionPresent
}

/** What the client has sent has been read, and what was sent to it before has come. */
export async function settled(client: RawMqtt): Promise<void> {
  const before = client.got.length
  client.send({ cmd: 'pingreq' })
  await until('a ping is answered', () => client.got.slice(before).some(({ cmd }) => cmd === 'pingresp'))
}

/** Ends the connection without a DISCONNECT, after the broker has read what was sent; the broker knows. */
export async function drop(client: RawMqtt): Promise<void> {
  await settled(client)
  client.socket.end()
  await until('the end', client.closed)
}

/** Acknowledges all that has come at QoS 1, again where it did before. */
export function acknowledge(client: RawMqtt): void {
  for (const { messageId, qos } of publishes(client))
    if (qos === 1) client.send({ cmd: 'puback', messageId: messageId ?? 0 })
}
