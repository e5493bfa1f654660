import type { Properties } from '../core/message.ts'
import { complainAboutTopicName } from '../core/topic.ts'
import type { OutgoingPublish } from '../mqtt/publish.ts'
import type { MqttItem, MqttWith } from './mqtt-settings.ts'

/** The user property in which Sluice counts how often it has sent a message on. */
export const hopsProperty = 'sluice-hops'

/** What MQTT itself allows; AWS IoT's limits are not those of another broker. */
const protocolLimits = { bytes: 65_535, levels: 65_536 }

/** The message to publish, or why it can never be. */
export function messageOf(
  item: MqttItem,
  maxHops: number,
): { readonly message: OutgoingPublish } | { readonly never: string } {
  const { topic: written, qos, retain } = item.with
  if (written.startsWith('$') && !written.startsWith('$$')) {
    return { never: 'the topic begins with "$"; a rule that means it writes "$$"' }
  }
  const topic = written.startsWith('$$') ? written.slice(1) : written
  const complaint = complainAboutTopicName(topic, protocolLimits)
  if (complaint !== undefined) return { never: complaint }
  const hops = hopsOf(item.properties) + 1
  if (hops > maxHops)
    return { never: `the message has gone through Sluice ${hops - 1} times, so a rule probably takes what it has made` }
  const properties = propertiesOf(item.with, hops)
  const unfit = complainAboutTexts(properties)
  if (unfit !== undefined) return { never: unfit }
  return { message: { topic, payload: item.payload, qos, retain, properties } }
}

/** What is not a number was not written by us; where the property occurs several times, the highest counts. */
function hopsOf(properties: Properties | undefined): number {
  const counts = (properties?.userProperties ?? [])
    .filter(([name, value]) => name === hopsProperty && /^\d{1,4}$/.test(value))
    .map(([, value]) => Number(value))
  return Math.max(0, ...counts)
}

function propertiesOf(options: MqttWith, hops: number): Properties {
  const { contentType, responseTopic, correlationData, payloadFormatIndicator: format, messageExpiry } = options
  return {
    ...(contentType !== undefined && { contentType }),
    ...(responseTopic !== undefined && { responseTopic }),
    ...(correlationData !== undefined && { correlationData }),
    ...(format !== undefined && { payloadFormatIndicator: format === true || format === 'UTF8_DATA' }),
    ...(messageExpiry !== undefined && { messageExpiryInterval: messageExpiry }),
    userProperties: [...pairsOf(options.userProperties), [hopsProperty, String(hops)]],
  }
}

function pairsOf(written: MqttWith['userProperties']): [name: string, value: string][] {
  const pairs: [string, string][] = Array.isArray(written)
    ? written.map(({ key, value }) => [key, value])
    : Object.entries(written ?? {}).map(([name, value]) => [name, String(value)])
  return pairs.filter(([name]) => name !== hopsProperty)
}

/** [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-3.3.2-14]: a broker closes the connection for any of these, with all that is on its way there. */
function complainAboutTexts({
  contentType,
  responseTopic,
  correlationData,
  userProperties,
}: Properties): string | undefined {
  const texts = [contentType, responseTopic, ...(userProperties ?? []).flat()]
  if (texts.some((text) => text !== undefined && !isMqttText(text))) {
    return 'a property is not text that MQTT can carry: well-formed Unicode without U+0000, at most 65535 bytes'
  }
  if (correlationData !== undefined && Buffer.byteLength(correlationData, 'base64') > 65_535)
    return 'correlationData has more than 65535 bytes'
  const complaint = responseTopic === undefined ? undefined : complainAboutTopicName(responseTopic, protocolLimits)
  return complaint === undefined ? undefined : `responseTopic: ${complaint}`
}

function isMqttText(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0') && Buffer.byteLength(text) <= 65_535
}
