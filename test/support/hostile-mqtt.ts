import * as fc from 'fast-check'
import { generate, type Packet } from 'mqtt-packet'
import { number16, vector } from '../ingest/tls/handmade-hello.ts'
import type { Attempt, HostileDoor, Pair } from './hostile.ts'
import type { Lures } from './hostile-lures.ts'
import { canary, cutAnywhere, mutatedBytes, mutatedText } from './hostile-text.ts'
import { connectPacket } from './raw-mqtt.ts'

const topic = fc.constantFrom('ok/x', 'ok/a/b', '+/b', '#', 'ok/#', '$SYS/x', '', '$aws/events/x', '\0', 'é/ü')
const messageId = fc.constantFrom(0, 1, 2, 65_535)
const qos = fc.constantFrom<(0 | 1 | 2)[]>(0, 1, 2)
/** What would come out of the workers if it got in. */
const hostilePayload = 'hostile'

/** What follows a CONNECT, sent without waiting for its answer. */
const act: fc.Arbitrary<Packet> = fc.oneof(
  fc.record({
    cmd: fc.constant('publish' as const),
    topic,
    payload: fc.constant(hostilePayload),
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
  fc.record({ cmd: fc.constantFrom('puback', 'pubrec', 'pubrel', 'pubcomp') as fc.Arbitrary<'puback'>, messageId }),
  fc.constantFrom<Packet>({ cmd: 'pingreq' }, { cmd: 'disconnect' }, connectPacket('m-2')),
)

/** mqtt-packet doesn't write everything that can be said. */
function written(packet: Packet): Buffer {
  try {
    return Buffer.from(generate(packet))
  } catch {
    return Buffer.from([0x30, 9, 0, 4, 0x6f, 0x6b, 0x2f, 0x78, 0x68, 0x68, 0x68])
  }
}

interface ConnectFields {
  readonly protocol: string
  readonly level: number
  /** Beside the flags that follow from what is there: they may contradict it. */
  readonly flags: number
  readonly keepalive: number
  readonly clientId: string
  readonly will: readonly [topic: string, payload: string] | undefined
  readonly username: string | undefined
  readonly password: string | undefined
}

/** A CONNECT field by field (MQTT 3.1.1 §3.1), also as no client writes it. */
function connectBytes(fields: ConnectFields): Buffer {
  const { protocol, level, flags, keepalive, clientId, will, username, password } = fields
  const own =
    (will === undefined ? 0 : 4) | (password === undefined ? 0 : 0x40) | (username === undefined ? 0 : 0x80) | 2
  const text = (value: string) => vector(2, Buffer.from(value))
  const body = Buffer.concat([
    text(protocol),
    Buffer.from([level, own ^ flags]),
    number16(keepalive),
    text(clientId),
    ...[...(will ?? []), username, password].filter((value) => value !== undefined).map(text),
  ])
  return Buffer.concat([Buffer.from([0x10]), remainingLength(body.length), body])
}

function remainingLength(length: number): Buffer {
  const bytes: number[] = []
  for (let left = length; ; left >>= 7) {
    bytes.push((left & 127) | (left > 127 ? 128 : 0))
    if (left <= 127) return Buffer.from(bytes)
  }
}

/** User names and passwords of which no pair is right. */
function wrongPair(lures: Lures): fc.Arbitrary<readonly [username: string | undefined, password: string | undefined]> {
  const named = 'x-amz-customauthorizer-name=tokens'
  const username = fc.constantFrom(
    'tok',
    'pw',
    'station',
    'hook',
    'mute',
    'good',
    '',
    '__proto__',
    '*',
    'é\u{1f600}',
    `${canary}-user`,
    'n'.repeat(300),
    `tok?${named}`,
    `?${named}&token=${canary}`,
    `?${named}&${named}x&token=let%20me%20in`,
    `?x-amz-customauthorizer-name=${canary}&token=let%20me%20in`,
    `?${named}&token=%E0%A4%A`,
    '?SDK=x&Version=1',
  )
  const password = fc.oneof(
    fc.constantFrom('', canary, `${canary}${'p'.repeat(6_000)}`, '\0', lures.token.slice(0, -1), `${lures.token}\0`),
    mutatedText(lures.token),
    mutatedText(lures.password),
    fc.constantFrom(...lures.wrongJwts),
    mutatedText(lures.jwt),
  )
  return fc.oneof(
    { weight: 6, arbitrary: fc.tuple(username, password) },
    { weight: 1, arbitrary: fc.tuple(username, fc.constant(undefined)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant(undefined), password) },
    { weight: 1, arbitrary: fc.constantFrom([undefined, undefined] as const) },
    // Right each, and not of each other.
    {
      weight: 2,
      arbitrary: fc.constantFrom(
        ...(['pw', 'to', 'TOK', 'tok ', 'tok\0', 'hook', ''] as const).map((name) => [name, lures.token] as const),
        ...(['tok', 'PW', 'p', 'mute'] as const).map((name) => [name, lures.password] as const),
      ),
    },
  )
}

/** One of the others now and then: what is wrong in several ways is refused for the first of them. */
function mostly<T>(usual: T, ...others: readonly T[]): fc.Arbitrary<T> {
  return fc.oneof({ weight: 6, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...others) })
}

const ids = ['m-2', 'm-3', '', '$x', 'witness', 'c-1', '\0', 'i'.repeat(129), '#', '${iot:ClientId}']

function connect(lures: Lures): fc.Arbitrary<Buffer> {
  return fc
    .record({
      protocol: mostly('MQTT', 'MQIsdp', 'mqtt', '', 'MQTT\0'),
      level: mostly(4, 3, 5, 0x84, 0, 255),
      flags: mostly(0, 2, 1, 0x18, 0x20, 0x04, 0x80, 0x40),
      keepalive: fc.constantFrom(0, 1, 60, 65_535),
      clientId: mostly('m-1', ...ids),
      will: fc.option(fc.tuple(topic, fc.constant(hostilePayload)), { nil: undefined, freq: 3 }),
      pair: wrongPair(lures),
    })
    .map(({ pair: [username, password], ...fields }) => connectBytes({ ...fields, username, password }))
}

/** MQTT that nobody may get in with: a CONNECT without the right credential and what follows it, whole or spoilt. */
export function hostileStream(lures: Lures): fc.Arbitrary<Buffer> {
  const whole = fc
    .tuple(connect(lures), fc.array(act.map(written), { maxLength: 4 }))
    .map(([first, others]) => Buffer.concat([first, ...others]))
  // With everything right, until some bytes are not.
  const right = (username: string, password: string) =>
    Buffer.concat([
      written(connectPacket('m-1', { username, password: Buffer.from(password) })),
      written({
        cmd: 'publish',
        topic: 'ok/x',
        payload: hostilePayload,
        qos: 1,
        messageId: 1,
        dup: false,
        retain: false,
      }),
    ])
  return fc
    .oneof(
      { weight: 1, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes)) },
      { weight: 8, arbitrary: whole },
      { weight: 3, arbitrary: whole.chain((bytes) => mutatedBytes(bytes)) },
      { weight: 2, arbitrary: mutatedBytes(right('tok', lures.token), 6) },
      { weight: 1, arbitrary: mutatedBytes(right('pw', lures.password), 6) },
      { weight: 1, arbitrary: mutatedBytes(right('x', lures.jwt), 6) },
      {
        weight: 1,
        arbitrary: fc.array(act.map(written), { minLength: 1, maxLength: 4 }).map((all) => Buffer.concat(all)),
      },
    )
    .filter((bytes) => !holdsCredential(bytes, lures))
}

/** Where the change was elsewhere, the credential is as right as before. */
function holdsCredential(bytes: Buffer, { token, password, jwt }: Lures): boolean {
  const text = bytes.toString('latin1')
  const pair = (name: string, secret: string) =>
    text.includes(`\0${String.fromCharCode(name.length)}${name}`) && text.includes(secret)
  return pair('tok', token) || pair('pw', password) || text.includes(jwt.slice(0, -4))
}

/** Whether a door has to react: there is a whole packet, or what can be none. */
export function isWholePacket(bytes: Buffer): boolean {
  let length = 0
  for (let index = 1; index <= 4; index += 1) {
    const byte = bytes[index]
    if (byte === undefined) return false
    length += (byte & 127) * 128 ** (index - 1)
    if (byte < 128) return bytes.length >= index + 1 + length
  }
  return true
}

/** Attempts over TCP and TLS, with `certificates` or without. */
export function mqttAttempt(lures: Lures, mute: Pair): fc.Arbitrary<Attempt> {
  const at = fc.constantFrom<{ readonly door: HostileDoor; readonly proved?: boolean; readonly alpn?: string }[]>(
    { door: 'mqtt' },
    { door: 'mqtt' },
    { door: 'mqtts' },
    { door: 'mqtts', alpn: 'mqtt' },
    { door: 'mqtts', proved: true },
    { door: 'mqtts', proved: true, alpn: 'x-amzn-mqtt-ca' },
  )
  return fc.tuple(at, hostileStream(lures), fc.nat(9)).chain(([where, bytes, how]) =>
    cutAnywhere(bytes).map((chunks) => ({
      kind: 'MQTT',
      ...where,
      ...(where.proved === true && { certificate: mute }),
      chunks,
      // A PUBLISH is read as it comes, so one that isn't whole may be waited for; nobody gets so far.
      complete: isWholePacket(bytes) && how !== 0,
      breaksOff: how === 0,
    })),
  )
}
