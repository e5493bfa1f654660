import { createServer, type Socket } from 'node:net'
import { type IConnackPacket, generate, type Packet, parser } from 'mqtt-packet'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import type { Scope } from './cleanup.ts'

/** A real client of another make, ended with the test. MQTT 5 unless told otherwise. */
export async function mqttClient(scope: Scope, url: string, options: IClientOptions = {}): Promise<MqttClient> {
  const client = await connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0, ...options })
  client.on('error', () => {})
  scope.after(() => client.endAsync(true))
  return client
}

/** Publishes payloads `0` … `count - 1` at QoS 1, many at a time. */
export async function publishMany(client: MqttClient, topic: string, count: number, from = 0): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, (_, index) => client.publishAsync(topic, String(from + index), { qos: 1 })),
  )
}

/** A broker that does only what a test tells it to. */
export interface ScriptedBroker {
  readonly port: number
  readonly url: string
  /** Every packet that has come, over all connections, oldest first. */
  readonly got: Packet[]
  /** Connections that have come so far. */
  readonly sockets: Socket[]
  /** Answers CONNECT; undefined: says nothing. */
  connack: (version: number) => Partial<IConnackPacket> | undefined
  /** Called with each packet that isn't CONNECT. */
  onPacket: (packet: Packet, socket: Socket, send: (...packets: Packet[]) => void) => void
  /** Sends over the newest connection. */
  send(...packets: Packet[]): void
}

export async function startScriptedBroker(scope: Scope): Promise<ScriptedBroker> {
  let newest: (...packets: Packet[]) => void = () => {}
  const server = createServer((socket) => {
    let protocolVersion = 4
    let reader = parser({ protocolVersion: 5 })
    const send = (...packets: Packet[]): void =>
      void socket.write(Buffer.concat(packets.map((packet) => Buffer.from(generate(packet, { protocolVersion })))))
    newest = send
    broker.sockets.push(socket)
    socket.on('error', () => {})
    const onPacket = (packet: Packet): void => {
      broker.got.push(packet)
      if (packet.cmd !== 'connect') return broker.onPacket(packet, socket, send)
      protocolVersion = packet.protocolVersion ?? 4
      const connack = broker.connack(protocolVersion)
      if (connack !== undefined)
        send({ cmd: 'connack', sessionPresent: false, reasonCode: 0, returnCode: 0, ...connack })
      reader = parser({ protocolVersion })
      reader.on('packet', onPacket)
    }
    reader.on('packet', onPacket)
    socket.on('data', (chunk) => reader.parse(Buffer.from(chunk)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const broker: ScriptedBroker = {
    port: address.port,
    url: `mqtt://127.0.0.1:${address.port}`,
    got: [],
    sockets: [],
    connack: () => ({}),
    onPacket: answerPings,
    send: (...packets) => newest(...packets),
  }
  scope.after(() => {
    for (const socket of broker.sockets) socket.destroy()
    server.close()
  })
  return broker
}

/** What every broker does. */
export function answerPings(packet: Packet, _socket: Socket, send: (...packets: Packet[]) => void): void {
  if (packet.cmd === 'pingreq') send({ cmd: 'pingresp' })
  if (packet.cmd === 'subscribe') {
    send({ cmd: 'suback', messageId: packet.messageId ?? 0, granted: packet.subscriptions.map(({ qos }) => qos) })
  }
  if (packet.cmd === 'unsubscribe') {
    send({ cmd: 'unsuback', messageId: packet.messageId ?? 0, granted: packet.unsubscriptions.map(() => 0) })
  }
}
