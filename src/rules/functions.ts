import { randomUUID } from 'node:crypto'
import type { Properties } from '../core/message.ts'
import { textOf } from '../core/wire.ts'
import type { ExpressionFunction } from './expression.ts'
import { ExpressionError } from './expression-error.ts'
import type { Focus } from './jsonata.ts'
import { type Subject, subjectName } from './subject.ts'

/** A function that needs nothing but the message and at most one plain argument. */
export interface MessageFunction {
  readonly signature: string
  readonly read: (subject: Subject, argument?: unknown) => unknown
}

/** What rules may ask about a message, by name. */
export const messageFunctions: ReadonlyMap<string, MessageFunction> = new Map<string, MessageFunction>([
  // The level with this number, from 1; undefined where there is none. Without a number, the whole topic.
  ['topic', { signature: '<n?:s>', read: readTopic }],
  ['clientId', { signature: '<:s>', read: ({ message }) => message.clientId }],
  ['principal', { signature: '<:s>', read: ({ message }) => message.principal }],
  ['thing', { signature: '<:s>', read: ({ message }) => message.thing }],
  // When the message was accepted, in milliseconds since 1970: the same on every evaluation and replay.
  ['timestamp', { signature: '<:n>', read: ({ message }) => message.at }],
  ['traceId', { signature: '<:s>', read: ({ message }) => message.id }],
  ['newuuid', { signature: '<:s>', read: () => randomUUID() }],
  ['qos', { signature: '<:n>', read: ({ message }) => message.qos }],
  ['retain', { signature: '<:b>', read: ({ message }) => message.retain }],
  ['properties', { signature: '<s?:x>', read: readProperties }],
  // The payload as text, undefined where it isn't UTF-8; `$payload('base64')` has it whatever it is.
  ['payload', { signature: '<s?:s>', read: readPayload }],
])

/** Everything that expressions may call besides jsonata's own functions. */
export const ruleFunctions: ReadonlyMap<string, ExpressionFunction> = new Map<string, ExpressionFunction>([
  ...[...messageFunctions].map(
    ([name, { signature, read }]) => [name, { signature, implementation: bound(signature, read) }] as const,
  ),
  ['encode', { signature: '<xs:s>', implementation: encode }],
  ['decode', { signature: '<ss:s>', implementation: decode }],
])

/** Its parameters tell jsonata how many arguments it takes, in `$map($f)` and when it is applied in part. */
function bound(signature: string, read: MessageFunction['read']): ExpressionFunction['implementation'] {
  if (signature.startsWith('<:')) {
    return function () {
      return read(subjectOf(this))
    }
  }
  return function (argument: unknown) {
    return read(subjectOf(this), argument)
  }
}

function subjectOf(focus: Focus): Subject {
  // INVARIANT: every evaluation of an expression with these functions is given the bindings of a Subject.
  return focus.environment.lookup(subjectName) as Subject
}

function readTopic(subject: Subject, level: unknown): string | undefined {
  return level === undefined ? subject.message.topic : subject.levels[Number(level) - 1]
}

function readPayload({ payload }: Subject, encoding: unknown): string | undefined {
  if (encoding === undefined) return payload.text
  if (encoding === 'base64') return Buffer.from(payload.bytes).toString('base64')
  throw unknownEncoding('payload', encoding)
}

const standardProperties: readonly (keyof Properties)[] = [
  'contentType',
  'responseTopic',
  'correlationData',
  'payloadFormatIndicator',
  'messageExpiryInterval',
]

/**
 * MQTT 5 properties. A standard one by its name (`contentType`), any other name is that of a user property: its value, or
 * its values where it occurs more than once. Without a name, all of them; user properties as `{ name, value }`, because
 * names that a device chooses make no fields.
 */
function readProperties({ message: { properties } }: Subject, name: unknown): unknown {
  if (properties === undefined) return undefined
  const user = properties.userProperties ?? []
  if (name === undefined) {
    const { userProperties: _, ...standard } = properties
    return user.length === 0
      ? standard
      : { ...standard, userProperties: user.map(([name, value]) => ({ name, value })) }
  }
  const standard = standardProperties.find((known) => known === name)
  if (standard !== undefined) return properties[standard]
  const values = user.filter((entry) => entry[0] === name).map(([, value]) => value)
  return values.length > 1 ? values : values[0]
}

/** Text as its UTF-8 bytes, anything else as its JSON text. */
function encode(value: unknown, encoding: string): string | undefined {
  if (encoding !== 'base64') throw unknownEncoding('encode', encoding)
  if (value === undefined) return undefined
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64')
}

function decode(text: string | undefined, encoding: string): string | undefined {
  if (encoding !== 'base64') throw unknownEncoding('decode', encoding)
  if (text === undefined) return undefined
  const decoded = /^[A-Za-z0-9+/]*={0,2}$/.test(text) ? textOf(Buffer.from(text, 'base64')) : undefined
  if (decoded !== undefined) return decoded
  throw new ExpressionError('EXPRESSION_FAILED', '$decode was given a text that is not the base64 of UTF-8', {
    reason: 'DECODE',
  })
}

function unknownEncoding(name: string, encoding: unknown): ExpressionError {
  const message = `$${name} knows the encoding 'base64', and was given ${JSON.stringify(encoding)?.slice(0, 40)}`
  return new ExpressionError('EXPRESSION_FAILED', message, { reason: 'ENCODING' })
}
