import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { generate, parser, type IConnackPacket, type IPublishPacket, type Packet } from 'mqtt-packet'

/** The cheapest MQTT 5 client there is: what the ceilings and the load are made of. No reconnect, no state. */
export interface RawClient {
  readonly socket: Socket
  subscribe(filter: string): Promise<void>
  /** Writes a QoS 1 PUBLISH; `onAck` of the options hears of its PUBACK. */
  publish(topic: string, payload: string | Buffer, id: number): void
  /** Queues a PUBACK; those of one turn of the event loop leave in one write. */
  acknowledge(id: number): void
  close(): void
}

export async function connectRaw(
  port: number,
  clientId: string,
  on: { readonly publish?: (packet: IPublishPacket) => void; readonly ack?: (id: number) => void } = {},
): Promise<RawClient> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  const packets = parser({ protocolVersion: 5 })
  const connack = Promise.withResolvers<IConnackPacket>()
  let suback = Promise.withResolvers<void>()
  packets.on('packet', (packet: Packet) => {
    if (packet.cmd === 'publish') on.publish?.(packet)
    else if (packet.cmd === 'puback') on.ack?.(packet.messageId ?? 0)
    else if (packet.cmd === 'connack') connack.resolve(packet)
    else if (packet.cmd === 'suback') suback.resolve()
  })
  socket.on('data', (chunk: Buffer) => packets.parse(chunk))
  socket.on('error', (error) => connack.reject(error))
  const properties = { receiveMaximum: 5_000 }
  socket.write(
    generate(
      { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clean: true, clientId, keepalive: 0, properties },
      { protocolVersion: 5 },
    ),
  )
  await connack.promise

  let acks: number[] = []
  const flush = () => {
    const bytes = Buffer.allocUnsafe(acks.length * 4)
    for (const [index, id] of acks.entries()) {
      bytes.writeUInt16BE(0x4002, index * 4)
      bytes.writeUInt16BE(id, index * 4 + 2)
    }
    acks = []
    socket.write(bytes)
  }
  return {
    socket,
    async subscribe(filter) {
      suback = Promise.withResolvers()
      socket.write(
        generate(
          { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos: 1 }] },
          { protocolVersion: 5 },
        ),
      )
      await suback.promise
    },
    publish(topic, payload, id) {
      socket.write(
        generate(
          { cmd: 'publish', topic, payload, qos: 1, messageId: id, dup: false, retain: false },
          { protocolVersion: 5 },
        ),
      )
    },
    acknowledge(id) {
      if (acks.push(id) === 1) setImmediate(flush)
    },
    close: () => socket.destroy(),
  }
}
