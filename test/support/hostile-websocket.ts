import { randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import type { Attempt, Pair } from './hostile.ts'
import type { Lures } from './hostile-lures.ts'
import { hostileStream, isWholePacket } from './hostile-mqtt.ts'
import { canary, cutAnywhere } from './hostile-text.ts'

export interface FrameFields {
  readonly opcode: number
  readonly payload: Buffer
  readonly fin?: boolean
  readonly reserved?: number
  readonly masked?: boolean
  /** What the header says instead of the payload's length. */
  readonly length?: bigint
}

/** A frame of a client (RFC 6455 §5.2), also as no client writes it. */
export function frame({ opcode, payload, fin = true, reserved = 0, masked = true, length }: FrameFields): Buffer {
  const first = (fin ? 0x80 : 0) | (reserved << 4) | opcode
  const mask = masked ? 0x80 : 0
  const size = length ?? BigInt(payload.length)
  const header = Buffer.alloc(size < 126n ? 2 : size < 65_536n ? 4 : 10)
  header[0] = first
  header[1] = mask | (size < 126n ? Number(size) : size < 65_536n ? 126 : 127)
  if (header.length === 4) header.writeUInt16BE(Number(size), 2)
  if (header.length === 10) header.writeBigUInt64BE(size, 2)
  const key = masked ? Buffer.from([1, 2, 3, 4]) : Buffer.alloc(0)
  const body = masked ? Buffer.from(payload.map((byte, index) => byte ^ ((index % 4) + 1))) : payload
  return Buffer.concat([header, key, body])
}

const closing = frame({ opcode: 8, payload: Buffer.from([3, 232]) })

const usual = ['Host: localhost', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']

/** The request of an upgrade. */
export function upgradeRequest(headers: readonly string[] = [], target = '/mqtt', method = 'GET'): Buffer {
  const key = `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`
  const lines = [`${method} ${target} HTTP/1.1`, ...usual, key, 'Sec-WebSocket-Protocol: mqtt', ...headers, '', '']
  return Buffer.from(lines.join('\r\n'), 'latin1')
}

/** MQTT in binary frames, cut as frames may be cut: in fragments, with pings between them. */
function framed(stream: Buffer): fc.Arbitrary<Buffer> {
  return fc.tuple(cutAnywhere(stream), fc.boolean(), fc.boolean()).map(([parts, fragmented, pings]) => {
    const frames = parts.flatMap((payload, index) => {
      const opcode = fragmented && index > 0 ? 0 : 2
      const own = frame({ opcode, payload, fin: !fragmented || index === parts.length - 1 })
      return pings ? [own, frame({ opcode: 9, payload: Buffer.from('ping') })] : [own]
    })
    return Buffer.concat(frames)
  })
}

/** Frames that break the rules, carrying what would be MQTT. */
function oddFrames(lures: Lures): fc.Arbitrary<Buffer> {
  const payload = fc.oneof(
    hostileStream(lures),
    fc.uint8Array({ maxLength: 130 }).map((bytes) => Buffer.from(bytes)),
    fc.constant(Buffer.alloc(300_000)),
  )
  const one = fc
    .record({
      opcode: fc.nat(15),
      payload,
      fin: fc.boolean(),
      reserved: fc.constantFrom(0, 0, 0, 4, 1, 7),
      masked: fc.constantFrom(true, true, true, false),
      length: fc.constantFrom(undefined, undefined, undefined, 0n, 125n, 65_535n, 2n ** 40n, 2n ** 63n, 2n ** 64n - 1n),
    })
    .map(({ length, ...fields }) => frame(length === undefined ? fields : { ...fields, length }))
  return fc.array(one, { minLength: 1, maxLength: 4 }).map((frames) => Buffer.concat(frames))
}

/** Upgrades that are none, or show something wrong. */
const oddUpgrade = fc
  .tuple(
    fc.constantFrom('GET', 'GET', 'GET', 'POST', 'CONNECT', 'get', 'PUT'),
    fc.constantFrom('/mqtt', '/mqtt', '/mqtt', '/mqtt/', '//mqtt', '/mqtt%00', '/MQTT', '/topics/ok/x', '*', '/mqtt?x'),
    fc.array(
      fc.constantFrom(
        'Sec-WebSocket-Key: short',
        'Sec-WebSocket-Version: 8',
        'Sec-WebSocket-Version: 99999999999999999999',
        'Sec-WebSocket-Protocol: chat',
        'Sec-WebSocket-Protocol: mqtt, mqtt, mqtt',
        `Sec-WebSocket-Protocol: ${'mqtt,'.repeat(1_000)}`,
        'Sec-WebSocket-Protocol: ,;"',
        'Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99999',
        'Sec-WebSocket-Extensions: "',
        'Upgrade: h2c',
        'Upgrade: websocket, websocket',
        'Connection: close',
        'Content-Length: 5',
        'Transfer-Encoding: chunked',
        'Expect: 100-continue',
        `Authorization: Bearer ${canary}`,
        'Authorization: Bearer eyJhbGciOiJub25lIn0.e30.',
        'Authorization: Basic !!!',
        `X-Amz-Customauthorizer-Name: ${canary}`,
        'X-Amz-Customauthorizer-Name: tokens',
        'X-Sluice-Principal: hook',
        'Webhook-Signature: v1,AAAA',
        'Origin: null',
      ),
      { maxLength: 4 },
    ),
  )
  .map(([method, target, headers]) => upgradeRequest(headers, target, method))

export function webSocketAttempt(lures: Lures, mute: Pair): fc.Arbitrary<Attempt> {
  const what = fc.oneof(
    {
      weight: 4,
      arbitrary: hostileStream(lures).chain((stream) =>
        framed(stream).map((frames) => ({
          kind: 'MQTT in frames',
          frames,
          complete: isWholePacket(stream),
          request: upgradeRequest(),
        })),
      ),
    },
    {
      weight: 3,
      arbitrary: fc
        .oneof(
          oddFrames(lures),
          fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
        )
        .map((frames) => ({
          kind: 'odd frames',
          frames: Buffer.concat([frames, closing]),
          complete: false,
          request: upgradeRequest(),
        })),
    },
    {
      weight: 2,
      arbitrary: fc.tuple(oddUpgrade, hostileStream(lures)).map(([request, stream]) => ({
        kind: 'odd upgrade',
        frames: frame({ opcode: 2, payload: stream }),
        complete: false,
        request,
      })),
    },
    {
      weight: 1,
      arbitrary: hostileStream(lures).map((stream) => ({
        kind: 'MQTT in text frames',
        frames: Buffer.concat([frame({ opcode: 1, payload: stream }), closing]),
        complete: true,
        request: upgradeRequest(),
      })),
    },
  )
  const at = fc.constantFrom<Pick<Attempt, 'door' | 'proved'>[]>(
    { door: 'ws' },
    { door: 'wss' },
    { door: 'wss', proved: true },
  )
  return fc.tuple(at, what, fc.nat(9)).chain(([where, { kind, request, frames, complete }, how]) =>
    cutAnywhere(Buffer.concat([request, frames])).map((chunks) => ({
      kind,
      ...where,
      ...(where.proved === true && { certificate: mute }),
      chunks,
      complete: complete && how !== 0,
      breaksOff: how === 0,
    })),
  )
}
