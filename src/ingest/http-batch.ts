import type { Publish } from '../core/access.ts'
import { messageOf } from '../core/errors.ts'
import type { Properties, Qos } from '../core/message.ts'
import { textOf } from '../core/wire.ts'
import { badRequest, HttpRefusal } from './http-refusal.ts'
import { elementsOf, membersOf } from './json-text.ts'
import { complainAboutProperties, isBase64, isMqttString } from './properties.ts'

/** One message of a batch, or why it is none. */
export type BatchItem = { readonly publish: Publish } | { readonly problem: string }

/**
 * Takes the body of `POST /messages` apart: a JSON array, or one message a line (NDJSON). The content type decides, and
 * where it says nothing the first character does.
 *
 * `payload`: a JSON string is sent as its characters in UTF-8; any other JSON value as its JSON text **exactly as it is
 * written in the request**, so that numbers keep all their digits. `payloadBase64`: bytes. `qos` is 0 (default) or 1.
 * `properties` are core's names; `userProperties` is an array of `[name, value]`.
 *
 * Throws HttpRefusal 400 where the whole body is not what it says, 413 for more than `most` messages; a single bad message is an
 * item with a problem that names its line (NDJSON) or number (array), from 1.
 */
export function readBatch(body: Buffer, contentType: string | undefined, most: number): BatchItem[] {
  return isLines(body, contentType) ? readLines(body, most) : readArray(body, most)
}

function isLines(body: Buffer, contentType: string | undefined): boolean {
  const type = contentType?.split(';', 1)[0]?.trim().toLowerCase()
  if (type === 'application/json') return false
  if (type !== undefined && /^application\/(?:x-ndjson|ndjson|jsonl|x-jsonlines)$/.test(type)) return true
  return body.find((byte) => !/\s/.test(String.fromCharCode(byte))) !== 0x5b
}

function readArray(body: Buffer, most: number): BatchItem[] {
  const text = textOf(body)
  if (text === undefined) throw badRequest('the body is not UTF-8')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw badRequest(`the body is not JSON: ${briefly(error)}`)
  }
  if (!Array.isArray(value)) throw badRequest('the body must be a JSON array of messages, or NDJSON')
  if (value.length > most) throw tooMany(most)
  return elementsOf(text).map((element, index) => readItem(element, `message ${index + 1}`))
}

function readLines(body: Buffer, most: number): BatchItem[] {
  const items: BatchItem[] = []
  let line = 0
  for (let start = 0; start < body.length;) {
    const end = body.indexOf(0x0a, start)
    const bytes = body.subarray(start, end === -1 ? body.length : end)
    start = end === -1 ? body.length : end + 1
    line += 1
    const text = textOf(bytes)?.trim()
    if (text === '') continue
    if (items.length >= most) throw tooMany(most)
    items.push(text === undefined ? { problem: `line ${line}: not UTF-8` } : readLine(text, `line ${line}`))
  }
  return items
}

function readLine(text: string, where: string): BatchItem {
  try {
    JSON.parse(text)
  } catch (error) {
    return { problem: `${where}: not JSON: ${briefly(error)}` }
  }
  return readItem(text, where)
}

/** `text` is one JSON value. */
function readItem(text: string, where: string): BatchItem {
  try {
    return { publish: readMessage(text) }
  } catch (error) {
    if (!(error instanceof HttpRefusal)) throw error
    return { problem: `${where}: ${error.message}` }
  }
}

const keys: ReadonlySet<string> = new Set([
  'topic',
  'payload',
  'payloadBase64',
  'thing',
  'clientId',
  'qos',
  'properties',
  'id',
])

function readMessage(text: string): Publish {
  if (!text.startsWith('{')) throw badRequest('a message is a JSON object')
  const fields = new Map<string, string>()
  for (const [name, value] of membersOf(text)) {
    if (!keys.has(name)) throw badRequest(`unknown key ${JSON.stringify(name.slice(0, 64))}`)
    if (fields.has(name)) throw badRequest(`${name} stands there twice`)
    fields.set(name, value)
  }
  const topic = readText(fields, 'topic')
  if (topic === undefined) throw badRequest('topic is missing')
  const thing = readText(fields, 'thing')
  const clientId = readText(fields, 'clientId')
  const id = readText(fields, 'id')
  const properties = readProperties(fields.get('properties'))
  return {
    topic,
    payload: readPayload(fields.get('payload'), fields.get('payloadBase64')),
    qos: readQos(fields.get('qos')),
    retain: false,
    ...(thing !== undefined && { thing }),
    ...(clientId !== undefined && { clientId }),
    ...(id !== undefined && { id }),
    ...(properties !== undefined && { properties }),
  }
}

function readText(fields: ReadonlyMap<string, string>, name: string): string | undefined {
  const raw = fields.get(name)
  if (raw === undefined) return undefined
  const value: unknown = JSON.parse(raw)
  // The topic's own faults are accept's to name, in one wording for all doors.
  if (typeof value === 'string' && (name === 'topic' || (value !== '' && isMqttString(value)))) return value
  throw badRequest(`${name} must be ${name === 'topic' ? '' : 'non-empty '}text`)
}

function readQos(raw: string | undefined): Qos {
  if (raw === undefined || raw === '0') return 0
  if (raw === '1') return 1
  throw badRequest('qos must be 0 or 1')
}

function readPayload(raw: string | undefined, base64: string | undefined): Buffer {
  if (raw !== undefined && base64 !== undefined) throw badRequest('payload and payloadBase64 exclude each other')
  if (base64 !== undefined) {
    const value: unknown = JSON.parse(base64)
    if (typeof value === 'string' && isBase64(value)) return Buffer.from(value, 'base64')
    throw badRequest('payloadBase64 must be base64 text')
  }
  if (raw === undefined) throw badRequest('payload or payloadBase64 is missing')
  if (!raw.startsWith('"')) return Buffer.from(raw, 'utf8')
  const text = JSON.parse(raw) as string
  if (text.isWellFormed()) return Buffer.from(text, 'utf8')
  throw badRequest('payload is not well-formed Unicode; send it as payloadBase64')
}

const propertyNames = {
  contentType: 'properties.contentType',
  responseTopic: 'properties.responseTopic',
  correlationData: 'properties.correlationData',
  payloadFormatIndicator: 'properties.payloadFormatIndicator',
  messageExpiryInterval: 'properties.messageExpiryInterval',
  userProperties: 'properties.userProperties',
} as const satisfies Record<keyof Properties, string>

const propertyShapes = new Map<string, (value: unknown) => boolean>([
  ['contentType', (value) => typeof value === 'string'],
  ['responseTopic', (value) => typeof value === 'string'],
  ['correlationData', (value) => typeof value === 'string'],
  ['payloadFormatIndicator', (value) => typeof value === 'boolean'],
  ['messageExpiryInterval', (value) => typeof value === 'number'],
  ['userProperties', isPairs],
])

function readProperties(raw: string | undefined): Properties | undefined {
  if (raw === undefined) return undefined
  if (!raw.startsWith('{')) throw badRequest('properties must be an object')
  const values: [string, unknown][] = membersOf(raw).map(([name, text]) => [name, JSON.parse(text)])
  for (const [name, value] of values) {
    const fits = propertyShapes.get(name)
    if (fits === undefined) throw badRequest(`unknown key ${JSON.stringify(`properties.${name.slice(0, 64)}`)}`)
    if (!fits(value)) throw badRequest(`properties.${name} has the wrong type`)
  }
  if (values.length === 0) return undefined
  // Every name has passed the table of shapes above.
  const properties = Object.fromEntries(values) as Properties
  const complaint = complainAboutProperties(properties, propertyNames)
  if (complaint !== undefined) throw badRequest(complaint)
  return properties
}

function isPairs(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.every((pair: unknown) => Array.isArray(pair) && pair.length === 2 && pair.every(isString))
  )
}

function isString(value: unknown): boolean {
  return typeof value === 'string'
}

/** V8 quotes what it was given; the client has that already. */
function briefly(error: unknown): string {
  return messageOf(error).slice(0, 100)
}

function tooMany(most: number): HttpRefusal {
  return new HttpRefusal(413, `more than the ${most} messages that are allowed in one request`)
}
