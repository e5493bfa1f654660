import { X509Certificate } from 'node:crypto'
import type { Presented } from '../../core/access.ts'
import { parameterValues, userParameters } from './parameters.ts'

/** What an authorizer is asked, as AWS IoT asks it ("Defining your Lambda function"). What doesn't apply is left out. */
export interface AuthorizerEvent {
  readonly token?: string
  readonly signatureVerified: boolean
  readonly protocols: readonly ('tls' | 'http' | 'mqtt')[]
  readonly protocolData: {
    readonly tls?: {
      readonly serverName?: string
      /** With `certificate: required` only, as the next. */
      readonly x509CertificatePem?: string
      /** The certificate's id. */
      readonly principalId?: string
    }
    readonly http?: { readonly headers: Readonly<Record<string, string>>; readonly queryString?: string }
    readonly mqtt?: {
      /** As the client sent it, with what follows the `?`. */
      readonly username?: string
      /** Base64. */
      readonly password?: string
      readonly clientId?: string
    }
  }
  readonly connectionMetadata: { readonly id: string }
}

/** AWS: an authorizer gets "up to 8 KB" of HTTP headers and query. */
const maxHttp = 8_192

export interface EventFacts {
  readonly token: string | undefined
  readonly signatureVerified: boolean
  /** Of the connection: the same in all events about it. */
  readonly connectionId: string
  /** The id of a client certificate that has been proved. */
  readonly certificateId?: string
}

/** The event about somebody; undefined where the HTTP part of it is longer than AWS would pass on. */
export function eventOf(presented: Presented, facts: EventFacts): AuthorizerEvent | undefined {
  const { protocol, tls, http, username, password, clientId } = presented
  if (http !== undefined && httpLength(http) > maxHttp) return undefined
  const { token, signatureVerified, connectionId, certificateId } = facts
  const mqtt = protocol !== 'http'
  return {
    ...(token !== undefined && { token }),
    signatureVerified,
    protocols: [
      ...(tls === undefined ? [] : (['tls'] as const)),
      ...(http === undefined ? [] : (['http'] as const)),
      ...(mqtt ? (['mqtt'] as const) : []),
    ],
    protocolData: {
      ...(tls !== undefined && {
        tls: {
          ...(tls.serverName !== undefined && { serverName: tls.serverName }),
          ...(certificateId !== undefined &&
            tls.certificate !== undefined && {
              x509CertificatePem: new X509Certificate(tls.certificate).toString(),
              principalId: certificateId,
            }),
        },
      }),
      ...(http !== undefined && {
        http: { headers: { ...http.headers }, ...(http.query !== '' && { queryString: `?${http.query}` }) },
      }),
      ...(mqtt && {
        mqtt: {
          ...(username !== undefined && { username }),
          ...(password !== undefined && { password: password.toString('base64') }),
          ...(clientId !== undefined && { clientId }),
        },
      }),
    },
    connectionMetadata: { id: connectionId },
  }
}

function httpLength({ headers, query }: NonNullable<Presented['http']>): number {
  let length = query.length
  for (const [name, value] of Object.entries(headers)) length += name.length + value.length
  return length
}

/** Headers that hold no proof and differ from one request of a device to the next. */
const passing = new Set([
  'content-length',
  'content-type',
  'date',
  'expect',
  'idempotency-key',
  'traceparent',
  'tracestate',
  'x-amz-date',
  'x-amz-mqtt5-correlation-data',
  'x-amz-mqtt5-payload-format-indicator',
  'x-amz-mqtt5-user-properties',
  'x-amzn-trace-id',
  'x-request-id',
])

/**
 * A text that is the same for events that show the same: what an answer may be remembered by. Everything an authorizer could
 * judge by is in it, because one connection of a proxy may carry the requests of many devices.
 */
export function shownIn({ token, signatureVerified, protocolData }: AuthorizerEvent): string {
  const { tls, http, mqtt } = protocolData
  const headers = Object.entries(http?.headers ?? {}).filter(([name]) => !passing.has(name))
  const inOrder = headers.toSorted(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify([token, signatureVerified, tls, http?.queryString, inOrder, mqtt])
}

/** Header values that may stand in a log. */
const harmless = new Set([
  ...passing,
  'accept',
  'accept-encoding',
  'accept-language',
  'connection',
  'host',
  'user-agent',
])
/** Shorter texts are no secrets, and taking them out would shred everything. */
const minSecret = 3
/** How much of a string `console.log` prints of an object that holds it, and how many bytes of a Buffer. */
const inspected = { characters: 10_000, bytes: 50 }

/** Texts in an event that may be somebody's proof, in the forms in which a module is likely to print them; the longest first. */
export function secretsIn({ token, protocolData: { http, mqtt } }: AuthorizerEvent): readonly string[] {
  const password = mqtt?.password === undefined ? undefined : Buffer.from(mqtt.password, 'base64')
  const texts = [
    token,
    mqtt?.password,
    password?.toString('utf8'),
    password?.toString('latin1'),
    password?.toString('ascii'),
    password?.subarray(0, inspected.bytes).toString('hex').match(/../g)?.join(' '),
    ...parameterValues(userParameters(mqtt?.username)),
    ...parameterValues(http?.queryString?.slice(1) ?? ''),
    ...Object.entries(http?.headers ?? {}).flatMap(([name, value]) =>
      harmless.has(name) ? [] : [value, value.replace(/^\w+ /, '')],
    ),
  ]
  const found = new Set<string>()
  for (const text of texts) {
    if (text === undefined) continue
    for (const line of [text, text.slice(0, inspected.characters)].flatMap((part) => part.split(/[\r\n]+/))) {
      for (const form of [line, JSON.stringify(line).slice(1, -1)]) if (form.length >= minSecret) found.add(form)
    }
  }
  return [...found].toSorted((a, b) => b.length - a.length)
}
