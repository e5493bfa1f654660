import { type Entry, type Envelope, envelopeVersion } from '../core/envelope.ts'
import type { Delivery, Message, Properties } from '../core/message.ts'
import { storable, toWire, type Wire } from '../core/wire.ts'

/** What all entries of one message have in common, made once however many workers it goes to. */
export interface Common {
  readonly fields: Pick<
    Entry,
    | 'id'
    | 'publisherId'
    | 'at'
    | 'topic'
    | 'direct'
    | 'qos'
    | 'retain'
    | 'properties'
    | 'principal'
    | 'thing'
    | 'clientId'
    | 'sourceIp'
  >
  readonly in: Wire
  /** Of everything here, and of the payload alone. */
  readonly bytes: number
  readonly payloadBytes: number
}

export interface SizedEntry {
  readonly entry: Entry
  /** About what it takes in the queue; the limit of an envelope is of this kind. */
  readonly bytes: number
}

/** Names, ids, quotes and braces of an entry as JSON, roughly. */
const frameBytes = 300

export function commonOf(message: Message): Common {
  const { id, publisherId, at, topic, qos, principal, thing, clientId, sourceIp } = message
  const properties = message.properties === undefined ? undefined : storableProperties(message.properties)
  const wire = toWire(message.payload)
  const fields = {
    id,
    at,
    topic: storable(topic),
    qos,
    principal: storable(principal),
    ...(publisherId !== undefined && { publisherId }),
    ...(message.rule !== undefined && { direct: true as const }),
    ...(message.retain && { retain: true as const }),
    ...(properties !== undefined && { properties }),
    ...(thing !== undefined && { thing: storable(thing) }),
    ...(clientId !== undefined && { clientId: storable(clientId) }),
    ...(sourceIp !== undefined && { sourceIp }),
  }
  const extra = properties === undefined ? 0 : JSON.stringify(properties).length
  const payloadBytes = bytesOf(wire, message.payload)
  return { fields, in: wire, bytes: frameBytes + topic.length + extra + payloadBytes, payloadBytes }
}

/** `keepOriginal`: whether the payload as it came goes along where `select` made something else. */
export function entryOf(common: Common, delivery: Delivery, keepOriginal: boolean): SizedEntry {
  const { rule, action, error, out, with: options } = delivery
  const made = out === undefined ? undefined : toWire(out)
  const asked = options === undefined ? undefined : (storableValue(options) as Readonly<Record<string, unknown>>)
  const original = made === undefined || keepOriginal
  const entry: Entry = {
    ...common.fields,
    rule: storable(rule),
    action,
    attempts: 0,
    ...(error !== undefined && { error }),
    ...(original && { in: common.in }),
    ...(made !== undefined && { out: made }),
    ...(asked !== undefined && { with: asked }),
  }
  let bytes = original ? common.bytes : common.bytes - common.payloadBytes
  if (made !== undefined && out !== undefined) bytes += bytesOf(made, out)
  if (asked !== undefined) bytes += JSON.stringify(asked).length
  return { entry, bytes }
}

export function envelopeOf(set: string, entries: readonly Entry[]): Envelope {
  return { v: envelopeVersion, set, entries }
}

function bytesOf(wire: Wire, payload: Buffer): number {
  return typeof wire === 'string' ? payload.length : wire.base64.length
}

function storableProperties(properties: Properties): Properties {
  return storableValue(properties) as Properties
}

/** The same JSON value with every string in it, names too, fit for any queue. */
function storableValue(value: unknown): unknown {
  if (typeof value === 'string') return storable(value)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(storableValue)
  // fromEntries defines: a name like `__proto__` becomes a plain property.
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [storable(name), storableValue(part)]))
}
