import type { Entry } from '../core/envelope.ts'
import type { Message } from '../core/message.ts'
import { fromWire, storable, toWire } from '../core/wire.ts'

/** The message that an entry was made from. Where its original was not kept (`keep: output`), with the payload that went out. */
export function messageOf(entry: Entry): Message {
  const { id, at, topic, qos, principal } = entry
  return {
    id,
    at,
    topic,
    payload: fromWire(entry.in ?? entry.out ?? ''),
    qos,
    retain: entry.retain === true,
    ...(entry.direct === true && { rule: entry.rule }),
    principal,
    ...(entry.publisherId !== undefined && { publisherId: entry.publisherId }),
    ...(entry.properties !== undefined && { properties: entry.properties }),
    ...(entry.thing !== undefined && { thing: entry.thing }),
    ...(entry.clientId !== undefined && { clientId: entry.clientId }),
    ...(entry.sourceIp !== undefined && { sourceIp: entry.sourceIp }),
  }
}

/** The number that stands where no action was reached. */
export const noAction = -1

/** A message as an entry that goes to no worker: what the dead letter of a rule that failed holds. */
export function entryOfMessage(message: Message, rule: string): Entry {
  const { id, at, topic, qos, principal } = message
  return {
    id,
    at,
    rule,
    action: noAction,
    topic: storable(topic),
    qos,
    principal,
    in: toWire(message.payload),
    attempts: 0,
    ...(message.publisherId !== undefined && { publisherId: message.publisherId }),
    ...(message.rule !== undefined && { direct: true }),
    ...(message.retain && { retain: true }),
    ...(message.properties !== undefined && { properties: storableProperties(message.properties) }),
    ...(message.thing !== undefined && { thing: storable(message.thing) }),
    ...(message.clientId !== undefined && { clientId: storable(message.clientId) }),
    ...(message.sourceIp !== undefined && { sourceIp: message.sourceIp }),
  }
}

/** Their texts come from a publisher, and one U+0000 would make the embedded queue refuse the whole add (wire.ts). */
function storableProperties(properties: NonNullable<Message['properties']>): NonNullable<Message['properties']> {
  return JSON.parse(JSON.stringify(properties), (_key, value: unknown) =>
    typeof value === 'string' ? storable(value) : value,
  ) as NonNullable<Message['properties']>
}
