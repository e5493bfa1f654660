import { z } from 'zod'
import type { Item } from '../core/forwarder.ts'
import { duration } from '../core/units.ts'
import { complainAboutBrokerUrl } from '../mqtt/address.ts'
import { tlsSettings } from './tls-settings.ts'

const brokerUrl = z.string().superRefine((text, context) => {
  const complaint = complainAboutBrokerUrl(text)
  if (complaint !== undefined) context.addIssue({ code: 'custom', message: complaint })
})

/** Per worker. */
export const mqttSettings = z.strictObject({
  url: brokerUrl,
  /** `sluice-worker-<worker>-<random>` where it is left out. No two clients of a broker may have the same. */
  clientId: z.string().min(1).max(128).exactOptional(),
  keepalive: duration('30s').refine((ms) => ms >= 5_000 && ms <= 65_535_000, 'must be between 5s and 65535s'),
  /**
   * How often a message may go through Sluice: a rule that takes what it has made itself goes round for ever. Counted in a
   * user property, so on MQTT 5 only. 8 is more than any chain of rules that was meant.
   */
  maxHops: z.int().min(1).max(100).default(8),
  /** Messages on their way at once; the broker's receive maximum holds too. As many as four full batches. */
  inFlight: z.int().min(1).max(65_535).default(1_000),
  /** Allows a credential to travel without TLS to another machine. */
  insecure: z.boolean().default(false),
  tls: tlsSettings.exactOptional(),
})

const text = z.string().max(65_535)

/** Per action of a rule. The MQTT 5 properties are those of AWS IoT's republish action; on 3.1.1 they are left out. */
export const mqttWith = z.strictObject({
  /** Where to publish; `$$` in front for a leading `$` (AWS IoT, republish). */
  topic: z.string().min(1),
  qos: z.union([z.literal(0), z.literal(1)]).default(1),
  retain: z.boolean().default(false),
  contentType: text.exactOptional(),
  responseTopic: text.exactOptional(),
  /** Base64. */
  correlationData: z.base64().exactOptional(),
  payloadFormatIndicator: z.union([z.boolean(), z.enum(['UNSPECIFIED_BYTES', 'UTF8_DATA'])]).exactOptional(),
  /** Seconds; text of digits too, because a template gives text. */
  messageExpiry: z
    .union([
      z.int(),
      z
        .string()
        .regex(/^\d{1,10}$/)
        .transform(Number),
    ])
    .refine((seconds) => seconds >= 0 && seconds <= 0xffffffff, 'must be between 0 and 4294967295 seconds')
    .exactOptional(),
  /** A mapping, or as AWS writes it, a list that may hold a name twice. */
  userProperties: z
    .union([
      z.record(text, z.union([text, z.number(), z.boolean()])),
      z.array(z.strictObject({ key: text, value: text })).max(100),
    ])
    .exactOptional(),
})

export type MqttSettings = z.output<typeof mqttSettings>
export type MqttWith = z.output<typeof mqttWith>
export type MqttItem = Item<MqttWith>
