import { connect as connectTcp, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls, createSecureContext, type SecureContext } from 'node:tls'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Packet, parser } from 'mqtt-packet'
import type { Ports } from './door-clients.ts'

export type HostileDoor = 'http' | 'https' | 'mqtt' | 'mqtts' | 'ws' | 'wss'

/** A certificate and its key, as PEM text. */
export interface Pair {
  readonly pem: string
  readonly key: string
}

/** One connection of somebody who must not come in. */
export interface Attempt {
  /** What it is, for the report of a failure. */
  readonly kind: string
  readonly door: HostileDoor
  /** What it sends, cut as it is sent. */
  readonly chunks: readonly Buffer[]
  /** Shown in the handshake of TLS, which is done by hand where `bare` says so. */
  readonly certificate?: Pair
  readonly alpn?: string
  /** On a port of TLS: the bytes go there without a handshake. */
  readonly bare?: boolean
  /** All is there that the door needs: it has to answer, or to close. Of anything else it may wait for the rest. */
  readonly complete: boolean
  /** The certificate is good, of a principal that may connect and do nothing else. */
  readonly proved?: boolean
  /** Breaks off without waiting for an answer. */
  readonly breaksOff?: boolean
}

/** How long a door may think: far longer than it ever does, and no measure of anything. */
const answerMs = 20_000
/** How long it is listened to after its answer, or where it may well have none. */
const lingerMs = 30

/** Makes an attempt and gives all that came back. Throws where the door neither answers nor lets go. */
export async function knock(ports: Ports, attempt: Attempt): Promise<Buffer> {
  const parts: Buffer[] = []
  const socket = open(ports, attempt)
  socket.on('error', () => {})
  const closed = new Promise<'closed'>((resolve) => socket.once('close', () => resolve('closed')))
  const answered = new Promise<'answered'>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      parts.push(chunk)
      // Of an upgrade that went well, the answer is what comes behind it.
      if (!isOnlyUpgrade(parts)) resolve('answered')
    })
  })
  const opened = new Promise<'open'>((resolve) => {
    socket.once('encrypted' in socket ? 'secureConnect' : 'connect', () => resolve('open'))
  })
  try {
    const first = await within(answerMs, opened, closed)
    if (first === 'late') throw new Error('neither taken nor closed')
    for (const chunk of attempt.chunks) {
      if (socket.destroyed) break
      socket.write(chunk)
      await nextTurn()
    }
    if (attempt.breaksOff === true) return Buffer.alloc(0)
    const heard = await within(attempt.complete ? answerMs : lingerMs, answered, closed)
    if (heard === 'late' && attempt.complete) throw new Error('neither an answer nor an end')
    await within(lingerMs, closed)
    socket.end()
    if ((await within(answerMs, closed)) === 'late') throw new Error('still open after our end')
    return Buffer.concat(parts)
  } finally {
    if ('resetAndDestroy' in socket && !('encrypted' in socket)) socket.resetAndDestroy()
    else socket.destroy()
  }
}

function open(ports: Ports, { door, certificate, alpn, bare }: Attempt): Socket {
  const where = { host: '127.0.0.1', port: portOf(ports, door), noDelay: true }
  if (bare === true || !isTls(door)) return connectTcp(where)
  const options: ConnectionOptions = {
    ...where,
    // Strangers don't care whom they talk to.
    rejectUnauthorized: false,
    servername: 'localhost',
    secureContext: contextOf(certificate),
    ...(alpn !== undefined && { ALPNProtocols: [alpn] }),
  }
  return connectTls(options)
}

export function portOf(ports: Ports, door: HostileDoor): number {
  return {
    http: ports.http,
    ws: ports.http,
    https: ports.https,
    wss: ports.https,
    mqtt: ports.mqtt,
    mqtts: ports.mqtts,
  }[door]
}

function isTls(door: HostileDoor): boolean {
  return door === 'https' || door === 'mqtts' || door === 'wss'
}

const contexts = new Map<string, SecureContext>()

/** One for each certificate; throws where OpenSSL won't show it. */
export function contextOf(certificate: Pair | undefined): SecureContext {
  const name = certificate?.pem ?? ''
  let context = contexts.get(name)
  if (context === undefined) {
    context = createSecureContext(certificate === undefined ? {} : { cert: certificate.pem, key: certificate.key })
    contexts.set(name, context)
  }
  return context
}

async function within<T>(ms: number, ...promises: readonly Promise<T>[]): Promise<T | 'late'> {
  const { promise, resolve } = Promise.withResolvers<'late'>()
  const timer = setTimeout(() => resolve('late'), ms)
  return Promise.race([...promises, promise]).finally(() => clearTimeout(timer))
}

/** What is wrong with an answer: somebody has come in, or has done something. Undefined where all is well. */
export function complaintAbout(answer: Buffer, { door, bare, proved = false }: Attempt): string | undefined {
  // A record with an alert or a handshake message; without its keys nobody gets further.
  if (bare === true) return [undefined, 0x15, 0x16].includes(answer[0]) ? undefined : 'no TLS'
  if (door === 'mqtt' || door === 'mqtts') return complaintAboutMqtt(answer, proved)
  const text = answer.toString('latin1')
  const head = text.startsWith('HTTP/1.1 101 ') ? text.indexOf('\r\n\r\n') + 4 : answer.length
  for (const [, status = '', rest = ''] of text.slice(0, head).matchAll(/HTTP\/1\.1 (\d{3})(.*?)(?=HTTP\/1\.1|$)/gs)) {
    // A batch is answered item by item, and one of nothing does nothing.
    const nothingTaken = proved && rest.includes('{"results":[') && !rest.includes('"status":200')
    if (status.startsWith('2') && !nothingTaken) return `status ${status}`
  }
  return complaintAboutMqtt(payloadsOf(answer.subarray(head)), proved)
}

function isOnlyUpgrade(parts: readonly Buffer[]): boolean {
  const text = Buffer.concat(parts).toString('latin1')
  return text.startsWith('HTTP/1.1 101 ') && text.indexOf('\r\n\r\n') === text.length - 4
}

/** What the server's frames carry; a server doesn't mask (RFC 6455 §5.1). */
function payloadsOf(frames: Buffer): Buffer {
  const payloads: Buffer[] = []
  for (let at = 0; at + 2 <= frames.length;) {
    const opcode = frames.readUInt8(at) & 15
    let length = frames.readUInt8(at + 1) & 127
    at += 2
    if (length === 126) {
      length = frames.readUInt16BE(at)
      at += 2
    } else if (length === 127) {
      length = Number(frames.readBigUInt64BE(at))
      at += 8
    }
    if (opcode < 3) payloads.push(frames.subarray(at, at + length))
    at += length
  }
  return Buffer.concat(payloads)
}

function complaintAboutMqtt(bytes: Buffer, proved: boolean): string | undefined {
  const complaints: string[] = []
  const reader = parser({ protocolVersion: 4 })
  reader.on('packet', (packet) => complaints.push(...complaintsAboutPacket(packet, proved)))
  reader.on('error', (error: Error) => complaints.push(`not MQTT: ${error.message}`))
  reader.parse(bytes)
  return complaints[0]
}

function complaintsAboutPacket(packet: Packet, proved: boolean): readonly string[] {
  switch (packet.cmd) {
    case 'connack':
      return packet.returnCode === 0 && !proved ? ['CONNACK 0'] : []
    case 'suback':
      return (packet.granted as number[]).every((code) => code === 128) ? [] : ['a subscription']
    case 'puback':
    case 'pubrec':
    case 'publish':
      return [packet.cmd.toUpperCase()]
    default:
      return []
  }
}

/** Makes attempts at once; throws for the first that came in or hangs, with all that there is to know about it. */
export async function allRefused(ports: Ports, attempts: readonly Attempt[]): Promise<void> {
  await Promise.all(
    attempts.map(async (attempt) => {
      const answer = await knock(ports, attempt).catch((error: unknown) => error as Error)
      const complaint = answer instanceof Error ? answer.message : complaintAbout(answer, attempt)
      if (complaint === undefined) return
      const { kind, door, certificate, chunks } = attempt
      const shown = certificate === undefined ? '' : `\ncertificate:\n${certificate.pem}`
      const sent = Buffer.concat(chunks)
      const said = answer instanceof Error ? '' : `\nanswer: ${printable(answer)}`
      throw new Error(`${kind} at ${door}: ${complaint}${shown}\nsent: ${printable(sent)}${said}`)
    }),
  )
}

function printable(bytes: Buffer): string {
  return JSON.stringify(bytes.toString('latin1').slice(0, 3_000))
}
