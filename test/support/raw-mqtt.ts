import { connect, type Socket } from 'node:net'
import { generate, type IConnectPacket, type Packet, parser } from 'mqtt-packet'
import { type Scope, until } from './cleanup.ts'

/** An MQTT client that does only what a test tells it to: no keep-alive, no acknowledgements, no order of its own. */
export interface RawMqtt {
  readonly socket: Socket
  /** Every packet that has come, oldest first. */
  readonly got: Packet[]
  readonly closed: () => boolean
  send(...packets: (Packet | Buffer)[]): void
  publish(
    topic: string,
    qos: 0 | 1 | 2,
    messageId?: number,
    extra?: { payload?: string | Buffer; dup?: boolean; retain?: boolean },
  ): void
  /** The message ids of the packets of one kind, in order. */
  ids(cmd: Packet['cmd']): (number | undefined)[]
  /** Payloads of the PUBLISH packets that have come, in order. */
  payloads(): string[]
}

/** Opens a connection and sends nothing. */
export function openRaw(scope: Scope, port: number): RawMqtt {
  const socket = connect(port, '127.0.0.1')
  socket.setNoDelay()
  scope.after(() => socket.destroy())
  const got: Packet[] = []
  const reader = parser({ protocolVersion: 4 })
  reader.on('packet', (packet) => got.push(packet))
  let closed = false
  socket.on('data', (chunk: Buffer) => reader.parse(chunk))
  socket.on('error', () => {})
  socket.on('close', () => (closed = true))
  const send = (...packets: (Packet | Buffer)[]): void =>
    void socket.write(
      Buffer.concat(packets.map((packet) => (Buffer.isBuffer(packet) ? packet : Buffer.from(generate(packet))))),
    )
  return {
    socket,
    got,
    closed: () => closed,
    send,
    publish: (topic, qos, messageId = 0, { payload = 'p', dup = false, retain = false } = {}) =>
      send({ cmd: 'publish', topic, payload, qos, dup, retain, ...(qos > 0 && { messageId }) }),
    ids: (cmd) => got.filter((packet) => packet.cmd === cmd).map(({ messageId }) => messageId),
    payloads: () => got.flatMap((packet) => (packet.cmd === 'publish' ? [String(packet.payload)] : [])),
  }
}

/** Opens a connection, sends CONNECT as principal `name`, and waits for the CONNACK (or the end). */
export async function connectRaw(
  scope: Scope,
  port: number,
  name = 'd-1',
  extra: Partial<IConnectPacket> = {},
): Promise<RawMqtt & { readonly code: number | undefined }> {
  const client = openRaw(scope, port)
  client.send(connectPacket(name, extra))
  await until('a CONNACK', () => client.got.length > 0 || client.closed())
  const [first] = client.got
  return Object.assign(client, { code: first?.cmd === 'connack' ? first.returnCode : undefined })
}

export function connectPacket(name: string, extra: Partial<IConnectPacket> = {}): IConnectPacket {
  return {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    clientId: name,
    keepalive: 60,
    username: name,
    password: Buffer.from(`${name}-secret`),
    ...extra,
  }
}

/** Subscribes and gives the return codes of the SUBACK. */
export async function subscribeRaw(
  client: RawMqtt,
  filters: readonly string[],
  qos: 0 | 1 | 2 = 1,
  messageId = 9_000,
): Promise<number[]> {
  const before = client.got.length
  client.send({ cmd: 'subscribe', messageId, subscriptions: filters.map((topic) => ({ topic, qos })) })
  const suback = await until(
    'a SUBACK',
    () => client.got.slice(before).find((packet) => packet.cmd === 'suback') ?? client.closed(),
  )
  return suback === true || suback.cmd !== 'suback' ? [] : (suback.granted as number[])
}
