import type { IncomingHttpHeaders } from 'node:http'
import type { Publish } from '../core/access.ts'
import { isPublisherId } from '../core/id.ts'
import type { Properties } from '../core/message.ts'
import { badRequest } from './http-refusal.ts'
import { type PropertyFields, complainAboutProperties, isBase64 } from './properties.ts'

/** The part of a request's query that a door looks at: a value that came twice is an array. */
export type Query = Readonly<Record<string, string | readonly string[] | undefined>>

/**
 * What the query and headers of `POST /topics/<topic>` say of a message; the names are those of AWS IoT's data plane
 * (aws-security §11). Query parameters and headers that it doesn't know are ignored, as AWS does. Throws HttpRefusal 400.
 */
export function readPublish(topic: string, query: Query, headers: IncomingHttpHeaders): Omit<Publish, 'payload'> {
  const qos = oneOf(query, 'qos', ['0', '1'])
  const retain = oneOf(query, 'retain', ['true', 'false'])
  const properties = readProperties(query, headers)
  const id = headers['idempotency-key']
  if (id !== undefined && !(typeof id === 'string' && isPublisherId(id))) {
    throw badRequest('the header Idempotency-Key must be 1 to 128 visible ASCII characters')
  }
  return {
    topic,
    qos: qos === '1' ? 1 : 0,
    retain: retain === 'true',
    ...(properties !== undefined && { properties }),
    ...(id !== undefined && { id }),
  }
}

function readProperties(query: Query, headers: IncomingHttpHeaders): Properties | undefined {
  const contentType = one(query, 'contentType')
  const responseTopic = one(query, 'responseTopic')
  const expiry = one(query, 'messageExpiry')
  const users = header(headers, 'x-amz-mqtt5-user-properties')
  const format = header(headers, 'x-amz-mqtt5-payload-format-indicator')
  const correlation = header(headers, 'x-amz-mqtt5-correlation-data')
  const fields: PropertyFields = {
    ...(contentType !== undefined && { contentType }),
    ...(responseTopic !== undefined && { responseTopic }),
    ...(expiry !== undefined && { messageExpiryInterval: /^\d{1,10}$/.test(expiry) ? Number(expiry) : Number.NaN }),
    ...(users !== undefined && { userProperties: readUserProperties(users) }),
    ...(format !== undefined && { payloadFormatIndicator: readFormat(format) }),
    ...(correlation !== undefined && { correlationData: correlation }),
  }
  if (Object.keys(fields).length === 0) return undefined
  const complaint = complainAboutProperties(fields, names)
  if (complaint !== undefined) throw badRequest(complaint)
  return fields
}

/** What the fields are called where the client wrote them. */
const names = {
  contentType: 'the parameter contentType',
  responseTopic: 'the parameter responseTopic',
  messageExpiryInterval: 'the parameter messageExpiry',
  userProperties: 'the header x-amz-mqtt5-user-properties',
  payloadFormatIndicator: 'the header x-amz-mqtt5-payload-format-indicator',
  correlationData: 'the header x-amz-mqtt5-correlation-data',
} as const

/** AWS: base64 of a JSON array of objects that have one key each. */
function readUserProperties(text: string): [string, string][] {
  const wrong = badRequest(
    `${names.userProperties} must be base64 of a JSON array of objects with one key and a string value each`,
  )
  if (!isBase64(text)) throw wrong
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(text, 'base64').toString('utf8'))
  } catch {
    throw wrong
  }
  if (!Array.isArray(value)) throw wrong
  return value.map((item: unknown) => {
    const entries = typeof item === 'object' && item !== null ? Object.entries(item) : []
    const [entry] = entries
    if (entries.length !== 1 || entry === undefined || typeof entry[1] !== 'string') throw wrong
    return [entry[0], entry[1]]
  })
}

function readFormat(text: string): boolean {
  if (text === 'UTF8_DATA') return true
  if (text === 'UNSPECIFIED_BYTES') return false
  throw badRequest(`${names.payloadFormatIndicator} must be UTF8_DATA or UNSPECIFIED_BYTES`)
}

function one(query: Query, name: string): string | undefined {
  const value = query[name]
  if (value === undefined || typeof value === 'string') return value
  throw badRequest(`the parameter ${name} stands there more than once`)
}

function oneOf(query: Query, name: string, allowed: readonly string[]): string | undefined {
  const value = one(query, name)
  if (value === undefined || allowed.includes(value)) return value
  throw badRequest(`the parameter ${name} must be ${allowed.join(' or ')}`)
}

function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' ? value : undefined
}
