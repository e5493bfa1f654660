import { newId } from '../core/id.ts'
import type { Message, Properties } from '../core/message.ts'
import type { RuleTest } from '../core/rule.ts'
import { addressOf } from '../core/topic.ts'

/** A message as a rule's test gives it, and a line of `sluice eval`: only the topic is needed. */
export type Sample = RuleTest['given']

/** The message of a sample, as if it had been accepted now; its principal is `test` where the sample names none. */
export function messageOfSample(sample: Sample): Message {
  const { topic, qos = 0, retain = false, principal = 'test', clientId, thing, properties } = sample
  return {
    id: newId(),
    at: Date.now(),
    ...addressOf(topic),
    payload: payloadOf(sample),
    qos,
    retain,
    principal,
    ...(properties !== undefined && { properties: propertiesOf(properties) }),
    ...(thing !== undefined && { thing }),
    ...(clientId !== undefined && { clientId }),
  }
}

function payloadOf({ payload, payloadText, payloadBase64 }: Sample): Buffer {
  if (payloadBase64 !== undefined) return Buffer.from(payloadBase64, 'base64')
  if (payloadText !== undefined) return Buffer.from(payloadText)
  return payload === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(payload))
}

const standard: Readonly<Record<keyof Omit<Properties, 'userProperties'>, 'string' | 'number' | 'boolean'>> = {
  contentType: 'string',
  responseTopic: 'string',
  correlationData: 'string',
  payloadFormatIndicator: 'boolean',
  messageExpiryInterval: 'number',
}

/** MQTT 5 properties by their names; every other name is that of a user property, whose value may be a list of values. */
function propertiesOf(given: Readonly<Record<string, unknown>>): Properties {
  const known: Record<string, unknown> = {}
  const userProperties: [string, string][] = []
  for (const [name, value] of Object.entries(given)) {
    if (name === 'userProperties') userProperties.push(...pairsOf(value))
    else if (Object.hasOwn(standard, name)) {
      if (typeof value === standard[name as keyof typeof standard]) known[name] = value
    } else
      for (const one of Array.isArray(value) ? (value as unknown[]) : [value]) userProperties.push([name, String(one)])
  }
  return { ...known, ...(userProperties.length > 0 && { userProperties }) }
}

/** `[[name, value], …]`, as a message has them, or `{ name: value }`. */
function pairsOf(value: unknown): [string, string][] {
  if (typeof value !== 'object' || value === null) return []
  if (!Array.isArray(value)) return Object.entries(value).map(([name, one]) => [name, String(one)])
  return (value as unknown[]).filter(Array.isArray).map(([name, one]: unknown[]) => [String(name), String(one)])
}
