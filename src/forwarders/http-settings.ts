import { z } from 'zod'
import type { Item } from '../core/forwarder.ts'
import { bytes, duration } from '../core/units.ts'
import { httpHeaders } from './http-headers.ts'
import { complainAboutPath } from './http-path.ts'
import { tlsSettings } from './tls-settings.ts'

const target = z.string().superRefine((text, context) => {
  const complain = (message: string) => context.addIssue({ code: 'custom', message })
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol)) return complain('must be an address: https://host/path')
  if (url.username !== '' || url.password !== '') return complain('must not hold a user or password; use a credential')
  if (url.hash !== '') complain('must not hold a "#": it is never sent')
})

/** Per worker. */
export const httpSettings = z.strictObject({
  /** Fixed: no rule and no device can lead a request to another host, or above this path. */
  url: target,
  method: z.enum(['POST', 'PUT', 'PATCH']).default('POST'),
  headers: httpHeaders.default({}),
  /** `none`: a request for each message. */
  batch: z.enum(['none', 'json-array', 'ndjson']).default('none'),
  /** Messages of one request; as many as most services take. */
  batchMessages: z.int().min(1).max(256).default(100),
  /** Bytes of one request: under the 1 MiB that many servers and proxies stop at. */
  batchBytes: bytes('512KiB').refine((size) => size > 0, 'must be more than 0'),
  /** Requests in flight for one batch of the queue; times `delivery.concurrency` for the worker. */
  parallel: z.int().min(1).max(64).default(8),
  /** For one exchange, from connecting to the end of the answer; below the 60 s after which delivery/ breaks a send off. */
  timeout: duration('10s').refine((ms) => ms >= 10 && ms <= 50_000, 'must be between 10ms and 50s'),
  /** How much of an answer is read; an answer is for its status, and its first words for the log. */
  maxResponse: bytes('64KiB').refine((size) => size <= 16 * 1024 ** 2, 'must be at most 16MiB'),
  /** The longest `Retry-After` that is believed: a typing error there must not stop a worker for years. */
  maxRetryAfter: duration('1h'),
  /** Allows a credential to travel without TLS to another machine. */
  insecure: z.boolean().default(false),
  tls: tlsSettings.exactOptional(),
})

/** Per action of a rule. */
export const httpWith = z.strictObject({
  /** Below the worker's url. */
  path: z
    .string()
    .superRefine((path, context) => {
      const complaint = complainAboutPath(path)
      if (complaint !== undefined) context.addIssue({ code: 'custom', message: complaint })
    })
    .exactOptional(),
  query: z.record(z.string().min(1), z.union([z.string(), z.number(), z.boolean()])).exactOptional(),
  headers: httpHeaders.exactOptional(),
})

export type HttpSettings = z.output<typeof httpSettings>
export type HttpWith = z.output<typeof httpWith>
export type HttpItem = Item<HttpWith>
