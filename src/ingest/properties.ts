import type { Properties } from '../core/message.ts'
import { complainAboutTopicName } from '../core/topic.ts'

/** Properties that a client wrote, before they are checked. */
export type PropertyFields = Properties

/** MQTT 5 §1.5.4: a string has at most 65,535 bytes. */
const stringBytes = 65_535
/** MQTT 5 §3.3.2.3.3: four bytes. */
const expiryMax = 4_294_967_295

/**
 * Checks MQTT 5 properties for what no broker and no queue could carry; undefined when they are fine. `names` says what the
 * client called each of them, for the complaint.
 */
export function complainAboutProperties(
  properties: PropertyFields,
  names: Readonly<Record<keyof Properties, string>>,
): string | undefined {
  const { contentType, responseTopic, messageExpiryInterval: expiry, correlationData, userProperties } = properties
  if (contentType !== undefined && !isMqttString(contentType)) return `${names.contentType} ${notText}`
  if (responseTopic !== undefined) {
    // [MQTT-3.3.2-14]
    const complaint = complainAboutTopicName(responseTopic)
    if (complaint !== undefined) return `${names.responseTopic} is not a topic name: ${complaint}`
  }
  if (expiry !== undefined && !(Number.isInteger(expiry) && expiry >= 0 && expiry <= expiryMax)) {
    return `${names.messageExpiryInterval} must be a whole number of seconds, at most ${expiryMax}`
  }
  if (correlationData !== undefined && !isBase64(correlationData)) return `${names.correlationData} must be base64`
  for (const [name, value] of userProperties ?? []) {
    if (!isMqttString(name) || !isMqttString(value)) return `${names.userProperties} ${notText}`
  }
  return undefined
}

const notText = 'must be well-formed Unicode without U+0000 and have at most 65535 bytes'

/** Text that MQTT can carry [MQTT-1.5.4-1] [MQTT-1.5.4-2]. */
export function isMqttString(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0') && Buffer.byteLength(text) <= stringBytes
}

/** Base64 as RFC 4648 §4 has it, with its padding; Node alone would take anything. */
export function isBase64(text: string): boolean {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text)
}
