import { createHash } from 'node:crypto'
import { mergeHeaders } from './http-headers.ts'
import { joinPath } from './http-path.ts'
import type { HttpItem, HttpSettings } from './http-settings.ts'
import { isJson, jsonLine } from './json-line.ts'

/** A request as it goes out, but for the credential. */
export interface HttpRequest {
  readonly url: URL
  readonly headers: ReadonlyMap<string, string>
  readonly body: Buffer
}

/** A media type as a publisher may name it (RFC 9110 §8.3); anything else is not passed on. */
const mediaType = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(?:\s*;[\x20-\x7e]*)?$/

/** Cuts a batch into requests, by index: one a message, or as many together as go to the same place with the same headers. */
export function cutIntoRequests(batch: readonly HttpItem[], settings: HttpSettings): readonly (readonly number[])[] {
  if (settings.batch === 'none') return batch.map((_, index) => [index])
  const requests: number[][] = []
  const open = new Map<string, { readonly indexes: number[]; bytes: number }>()
  for (const [index, { payload, with: options }] of batch.entries()) {
    const place = JSON.stringify([options.path, options.query, options.headers])
    const current = open.get(place)
    // What isn't JSON grows by a third as base64.
    const size = Math.ceil(payload.length * 1.34) + 16
    if (
      current !== undefined &&
      current.indexes.length < settings.batchMessages &&
      current.bytes + size <= settings.batchBytes
    ) {
      current.indexes.push(index)
      current.bytes += size
      continue
    }
    const indexes = [index]
    open.set(place, { indexes, bytes: size })
    requests.push(indexes)
  }
  return requests
}

/** Makes the request for messages that share path, query and headers; at least one. */
export function httpRequest(items: readonly [HttpItem, ...HttpItem[]], settings: HttpSettings): HttpRequest {
  const [first] = items
  const { path, query, headers } = first.with
  const content = settings.batch === 'none' ? single(first) : together(items, settings.batch)
  const own = {
    'content-type': content.type,
    'idempotency-key': content.key,
    'user-agent': 'sluice',
    accept: '*/*',
  }
  return {
    url: urlOf(settings.url, path, query),
    headers: mergeHeaders(own, settings.headers, headers),
    body: content.body,
  }
}

interface Content {
  readonly type: string
  readonly key: string
  readonly body: Buffer
}

function single(item: HttpItem): Content {
  return { type: typeOf(item), key: headerSafe(item.key), body: item.payload }
}

/** The key of several messages: the same when the same are sent again. After a part was delivered the rest is another request. */
function together(items: readonly HttpItem[], form: 'json-array' | 'ndjson'): Content {
  const key = createHash('sha256')
  for (const item of items) key.update(`${item.key}\n`)
  const [before, between, after] = form === 'ndjson' ? ['', '\n', '\n'] : ['[', ',', ']']
  const parts: Buffer[] = [Buffer.from(before)]
  for (const [index, item] of items.entries()) {
    if (index > 0) parts.push(Buffer.from(between))
    parts.push(jsonLine(item))
  }
  parts.push(Buffer.from(after))
  return {
    type: form === 'ndjson' ? 'application/x-ndjson' : 'application/json',
    key: key.digest('hex'),
    body: Buffer.concat(parts),
  }
}

function typeOf({ selected, properties, payload }: HttpItem): string {
  if (selected) return 'application/json'
  const said = properties?.contentType
  if (said !== undefined && said.length <= 256 && mediaType.test(said)) return said
  return isJson(payload) ? 'application/json' : 'application/octet-stream'
}

/** A key holds the rule's name, and that may hold anything. */
function headerSafe(key: string): string {
  return /^[\x21-\x7e]{1,255}$/.test(key) ? key : createHash('sha256').update(key).digest('hex')
}

function urlOf(base: string, path: string | undefined, query: HttpItem['with']['query']): URL {
  const url = path === undefined ? new URL(base) : joinPath(new URL(base), path)
  for (const [name, value] of Object.entries(query ?? {})) url.searchParams.append(name, String(value))
  return url
}
