import { z } from 'zod'
import { filePath } from '../core/file-path.ts'
import { complainAboutCiphers, type TlsPolicyName, tlsPolicyNames, tlsPolicyWith } from '../core/tls-policy.ts'
import { parseRedisUrl } from '../core/redis-url.ts'
import { awsTopicLimits, complainAboutTopicFilter } from '../core/topic.ts'
import { bytes, duration } from '../core/units.ts'
import { backlog } from './backlog-schema.ts'

/** Names that become parts of queue names, client ids and metric labels. */
export const shortName = z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/, 'must have 1 to 64 letters, digits, "_" or "-"')

const port = z.int().min(0).max(65_535)

/** Whether no other machine reaches this address. */
export function isLoopback(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|::1|\[::1\])$/.test(host)
}

const plainListener = (fallback: number) =>
  z
    .strictObject({
      host: z.string().min(1).default('127.0.0.1'),
      port: port.default(fallback),
      insecure: z.boolean().default(false).describe('Listens without TLS where other machines can reach it.'),
    })
    .superRefine(({ host, insecure }, context) => {
      if (insecure || isLoopback(host)) return
      const message = `listens without TLS where other machines can reach it; use 127.0.0.1, or write "insecure: true" if something else protects it`
      context.addIssue({ code: 'custom', path: ['host'], message })
    })

const tlsListener = (fallback: number) =>
  z.strictObject({
    host: z.string().min(1).default('127.0.0.1'),
    port: port.default(fallback),
    proxyProtocol: z
      .boolean()
      .default(false)
      .describe(
        'A load balancer begins every connection with a PROXY header, version 1 or 2; without one it is closed.',
      ),
    clientCertificates: z
      .boolean()
      .default(true)
      .describe('Clients are asked for a certificate; they need not have one.'),
  })

const listen = z.strictObject({
  http: plainListener(8080).exactOptional(),
  mqtt: plainListener(1883).exactOptional(),
  https: tlsListener(8443)
    .extend({
      mqtt: z
        .boolean()
        .default(false)
        .describe('MQTT here too, by ALPN and as WebSocket, where neither listen.mqtt nor listen.mqtts is there.'),
    })
    .exactOptional(),
  mqtts: tlsListener(8883).exactOptional(),
})

const certificateFiles = z.strictObject({
  certificate: filePath().describe('PEM, with its chain; the own certificate first.'),
  key: filePath().describe('PEM, not encrypted.'),
})

const serverCertificates = z.array(certificateFiles).min(1)

/** AWS's names of security policies, which AWS also writes with a prefix. */
const tlsPolicy = z.preprocess(
  (value) => (typeof value === 'string' ? value.replace(/^IoTSecurityPolicy_/, '') : value),
  z.enum(tlsPolicyNames),
)

const ciphers = z.string().superRefine((list, context) => {
  for (const message of complainAboutCiphers(list)) context.addIssue({ code: 'custom', message })
})

/** What clients may send as SNI: no addresses, by RFC 6066 §3. */
const serverName = z
  .string()
  .toLowerCase()
  .max(253)
  .regex(/^(?:\*\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/, 'must be a host name, or "*." and a host name')
  .refine((name) => !/\.\d+$|^\d+$/.test(name), 'is an address; clients name hosts only')

const tlsName = z.strictObject({
  name: serverName,
  certificates: serverCertificates.exactOptional(),
  policy: tlsPolicy.exactOptional(),
  ciphers: ciphers.exactOptional(),
  defaultAuthorizer: z.string().min(1).max(128).exactOptional(),
  allowAuthorizerOverride: z.boolean().exactOptional(),
})

/** What is served on the TLS listeners: AWS IoT's domain configurations (aws-security §15), and what is served to others. */
const serverTls = z
  .strictObject({
    certificates: serverCertificates.exactOptional(),
    policy: tlsPolicy.default('TLS13_1_2_2022_10'),
    ciphers: ciphers.exactOptional(),
    sni: z.enum(['optional', 'required']).default('optional'),
    names: z.array(tlsName).default([]),
  })
  .superRefine(({ policy, ciphers: list, names }, context) => {
    const check = (path: (string | number)[], name: TlsPolicyName, own: string | undefined): void => {
      if (tlsPolicyWith(name, own) !== undefined) return
      context.addIssue({ code: 'custom', path, message: `has no suite for a version of TLS that ${name} speaks` })
    }
    check(['ciphers'], policy, list)
    for (const [index, own] of names.entries()) {
      if (own.ciphers !== undefined) check(['names', index, 'ciphers'], own.policy ?? policy, own.ciphers)
    }
  })

const bridgeProtocols = { plain: ['mqtt:', 'tcp:'], tls: ['mqtts:', 'ssl:', 'tls:'] } as const

const brokerUrl = z.string().superRefine((text, context) => {
  const complain = (message: string) => context.addIssue({ code: 'custom', message })
  const url = URL.parse(text)
  const protocols: readonly string[] = [...bridgeProtocols.plain, ...bridgeProtocols.tls]
  if (url === null || !protocols.includes(url.protocol) || url.hostname === '') {
    return complain('must be the address of a broker: mqtt://host:1883 or mqtts://host:8883')
  }
  if (url.username !== '' || url.password !== '')
    return complain('must not hold a user or password; write username and password beside it')
  if (!/^\/?$/.test(url.pathname) || url.search !== '' || url.hash !== '') complain('must end with the port')
})

const topicFilter = z.string().superRefine((filter, context) => {
  const complaint = filter.startsWith('$share/')
    ? 'is a shared subscription; write the filter alone, and the name of the share as "share"'
    : complainAboutTopicFilter(filter, { bytes: 65_535, levels: 128 })
  if (complaint !== undefined) context.addIssue({ code: 'custom', message: complaint })
})

/** Patterns of thing names, with `*` and `?`. */
export const actsFor = z.array(
  z
    .string()
    .regex(
      /^[a-zA-Z0-9:_*?-]{1,128}$/,
      'must be a pattern of thing names: letters, digits, ":", "_", "-", "*" and "?"',
    ),
)

const tls = z
  .strictObject({
    ca: z.string().min(1).exactOptional(),
    certificate: z.string().min(1).exactOptional(),
    key: z.string().min(1).exactOptional(),
    servername: z.string().min(1).exactOptional(),
  })
  .superRefine(({ certificate, key }, context) => {
    if ((certificate === undefined) === (key === undefined)) return
    context.addIssue({ code: 'custom', message: 'a client certificate needs both "certificate" and "key"' })
  })

const bridge = z
  .strictObject({
    name: shortName,
    url: brokerUrl,
    topics: z.array(topicFilter).min(1),
    share: z
      .string()
      .regex(/^[^/+#\0]{1,128}$/, 'must be a name without "/", "+" and "#"') // MQTT 5 §4.8.2
      .exactOptional(),
    standby: z.boolean().default(false),
    clientId: z.string().min(1).max(128).exactOptional(),
    username: z.string().min(1).exactOptional(),
    password: z.string().min(1).exactOptional(),
    tls: tls.exactOptional(),
    thing: z.union([z.string().min(1), z.strictObject({ property: z.string().min(1) })]).exactOptional(),
    id: z.string().min(1).exactOptional(),
    actsFor: actsFor.default([]),
    trust: z.enum(['policies', 'topics']).default('policies'),
    unknownThings: z.enum(['refuse', 'allow']).default('refuse'),
    policies: z.array(z.string()).exactOptional(),
    qos: z.union([z.literal(0), z.literal(1)]).default(1),
    qos0: z.enum(['drop', 'pause']).default('drop'),
    retained: z.enum(['once', 'never', 'always']).default('once'),
    receiveMaximum: z.int().min(1).max(5000).default(1000),
    sessionExpiry: duration('7d').refine((ms) => ms >= 1000, 'must be at least 1s'),
    keepalive: duration('30s').refine((ms) => ms >= 5000 && ms <= 65_535_000, 'must be between 5s and 65535s'),
  })
  .superRefine(({ url, tls: settings, username, password, share, standby }, context) => {
    if (standby && share !== undefined)
      context.addIssue({
        code: 'custom',
        path: ['standby'],
        message: 'is another way than "share"; leave one of them out',
      })
    const plain = bridgeProtocols.plain.some((protocol) => url.startsWith(protocol))
    if (settings !== undefined && plain)
      context.addIssue({ code: 'custom', path: ['tls'], message: 'has no use with this url; write mqtts://' })
    // [MQTT-3.1.2-22], which MQTT 5 has dropped and 3.1.1, our fallback, has not.
    if (password !== undefined && username === undefined)
      context.addIssue({ code: 'custom', path: ['password'], message: 'needs a username' })
  })

const envelope = z.strictObject({
  messages: z
    .int()
    .min(1)
    .max(10_000)
    .default(256)
    .describe('Messages of one queue job: more makes no job cheaper, and a job is what is repeated after a crash.'),
  bytes: bytes('1MiB').describe('Bytes of one queue job: keeps Redis commands and worker memory small.'),
})

const queueUrl = z.string().superRefine((text, context) => {
  if (text === 'embedded') return
  const url = parseRedisUrl(text)
  if ('complaint' in url) context.addIssue({ code: 'custom', message: url.complaint })
})

/** Whom the sentinels are asked as; the url says it for the Redis itself. */
const sentinel = z.strictObject({
  username: z.string().min(1).exactOptional(),
  password: z.string().min(1),
})

/** Where queues are, and what their store promises. */
const queuePlace = z.strictObject({
  url: queueUrl,
  durability: z.enum(['process', 'fsync', 'replicated']).exactOptional(),
  acceptLoss: z.boolean().default(false),
  size: bytes()
    .refine((size) => size > 0, 'must be more than 0')
    .exactOptional(),
  tls: tls.exactOptional(),
  sentinel: sentinel.exactOptional(),
})

interface Contradicting {
  readonly url: string
  readonly durability?: string
  readonly tls?: unknown
  readonly sentinel?: unknown
}

/** What can't go together, whoever's queue it is. */
function complainAboutPlace(
  { url, durability, tls: settings, sentinel: user }: Contradicting,
  context: z.RefinementCtx,
) {
  if (settings !== undefined && !/^rediss(?:\+sentinel)?:/.test(url)) {
    context.addIssue({ code: 'custom', path: ['tls'], message: 'has no use with this url; write rediss://' })
  }
  if (user !== undefined && !/^rediss?\+sentinel:/.test(url)) {
    context.addIssue({
      code: 'custom',
      path: ['sentinel'],
      message: 'has no use with this url; write redis+sentinel://',
    })
  }
  if (url !== 'embedded' || durability !== 'replicated') return
  context.addIssue({
    code: 'custom',
    path: ['durability'],
    message: 'the embedded queue is on this machine only; "replicated" needs Redis',
  })
}

const queueSettings = queuePlace
  .extend({ envelope: envelope.default(() => envelope.parse({})) })
  .superRefine(complainAboutPlace)

const withUrl = (value: unknown) => (typeof value === 'string' ? { url: value } : value)

/** `queue: embedded` is short for `queue: { url: embedded }`. */
const queue = z.preprocess(withUrl, queueSettings)

/** `queue:` of a worker's file: a Redis for this worker alone. */
export const ownQueue = z.preprocess(
  withUrl,
  queuePlace.superRefine(complainAboutPlace).superRefine(({ url }, context) => {
    if (url !== 'embedded') return
    const message = 'the embedded queue is one for all; a queue of its own is the address of a Redis'
    context.addIssue({ code: 'custom', path: ['url'], message })
  }),
)

const expression = z.strictObject({
  steps: z
    .int()
    .min(100)
    .default(200_000)
    .describe('Nodes evaluated for one message and expression: a loop ends after about a tenth of a second.'),
  timeout: duration('1s').describe('Wall time, for what one step can cost by itself.'),
  stack: z.int().min(10).default(2_000).describe('Nodes nested in evaluation: bounds recursion.'),
  sequence: z.int().min(1).default(10_000).describe('Items of a sequence: their cost is quadratic.'),
  result: bytes('1MiB').describe('Bytes that select may make: an envelope holds no more.'),
})

const authentication = z.strictObject({
  perAddress: z
    .int()
    .min(1)
    .default(20)
    .describe('Failed authentications a minute from one address (an IPv6 /64): a person who mistypes.'),
  perLocalAddress: z
    .int()
    .min(1)
    .default(600)
    .describe('The same from this machine itself: a proxy may stand there, and all the world behind it.'),
  perPrincipal: z
    .int()
    .min(1)
    .default(60)
    .describe('The same for one claimed principal from all addresses: against guessing from many places.'),
})

const retained = z.strictObject({
  messages: z
    .int()
    .min(0)
    .default(20_000)
    .describe(
      'Retained messages of the embedded broker, in memory: two for each client of `connections`, one of them its last will.',
    ),
  bytes: bytes('64MiB').describe('Bytes of them, their topics and 200 for each besides.'),
  perPrincipal: z
    .int()
    .min(0)
    .default(1_000)
    .describe('How many of them one principal may have: it takes twenty to fill the store.'),
  bytesPerPrincipal: bytes('8MiB').describe('The same, in bytes.'),
})

const limits = z.strictObject({
  payload: bytes('128KiB').describe("Bytes of one payload. AWS IoT's limit."),
  topicBytes: z
    .int()
    .min(1)
    .max(65_535)
    .default(awsTopicLimits.bytes)
    .describe("UTF-8 bytes of a topic. AWS IoT's limit."),
  topicLevels: z
    .int()
    .min(1)
    .max(128)
    .default(awsTopicLimits.levels)
    .describe("Levels of a topic: AWS IoT's seven slashes."),
  publishesPerSecond: z.number().positive().default(100).describe("Per principal. AWS IoT's limit of a connection."),
  bytesPerSecond: bytes('512KiB').describe("Payload bytes per principal. AWS IoT's limit of a connection."),
  batchMessages: z
    .int()
    .min(1)
    .max(100_000)
    .default(1000)
    .describe('Messages of one POST /messages: they are held in memory until all are durable.'),
  batchBytes: bytes('8MiB').describe('Body of one POST /messages, for the same reason.'),
  connections: z
    .int()
    .min(1)
    .default(10_000)
    .describe('Clients of the embedded broker: each holds buffers and a session in memory.'),
  retained: retained.default(() => retained.parse({})),
  authentication: authentication.default(() => authentication.parse({})),
  rules: z.int().min(1).default(5000).describe('Rules: each matching one costs time for every message.'),
  filtersPerRule: z.int().min(1).default(20).describe('Topic filters of one rule.'),
  expression: expression.default(() => expression.parse({})),
  actionsPerRule: z
    .int()
    .min(1)
    .default(20)
    .describe('Actions of one rule, twice what AWS IoT allows: a message is copied to each.'),
})

const arn = z.strictObject({
  region: z
    .string()
    .regex(/^[a-z0-9-]{1,32}$/, 'must be a region such as eu-west-1')
    .default('local'),
  account: z
    .string()
    .regex(/^\d{12}$/, 'must be text of 12 digits, in quotes')
    .default('000000000000'),
})

const broker = z.strictObject({
  deniedSubscribe: z
    .enum(['suback', 'disconnect'])
    .default('suback')
    .describe('What a SUBSCRIBE gets that policies deny: 0x80 in the SUBACK, or the end of the connection.'),
})

const log = z.strictObject({
  level: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  format: z.enum(['auto', 'json', 'text']).default('auto'),
})

/** sluice.yaml. Every key has a default. */
export const sluiceSchema = z.strictObject({
  data: filePath().default('./data'),
  listen: listen.prefault({ http: {} }),
  tls: serverTls.prefault({}),
  broker: broker.prefault({}),
  bridges: z.array(bridge).default([]),
  queue: queue.prefault('embedded'),
  backlog: backlog.prefault({}),
  rules: filePath().default('./rules'),
  unmatched: z
    .array(z.string().min(1))
    .refine((names) => new Set(names).size === names.length, 'names a worker twice')
    .default([])
    .describe('Workers that get what no rule takes.'),
  workers: filePath().default('./workers'),
  identity: filePath().default('./identity'),
  limits: limits.default(() => limits.parse({})),
  arn: arn.prefault({}),
  shutdown: duration('20s').describe('How long a stop waits for what is in flight.'),
  log: log.prefault({}),
})

/** The values of sluice.yaml; folders absolute, durations in milliseconds, sizes in bytes. */
export type SluiceSettings = z.output<typeof sluiceSchema>
export type BridgeSettings = SluiceSettings['bridges'][number]
export type TlsListenerSettings = NonNullable<SluiceSettings['listen']['https']>
export type Limits = SluiceSettings['limits']
