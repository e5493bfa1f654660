import type { HttpFacts } from '../../core/access.ts'
import { decodeQuery } from './query.ts'

/** A signature as a request shows it: well formed, and not yet checked against anything. */
export interface ShownSignature {
  readonly form: 'header' | 'query'
  readonly accessKeyId: string
  /** The scope: `yyyymmdd`, region and service. */
  readonly day: string
  readonly region: string
  readonly service: string
  /** Lower case, sorted, each there in the request; `host` among them. */
  readonly signedHeaders: readonly string[]
  /** When it was signed, in milliseconds since 1970. */
  readonly at: number
  /** X-Amz-Expires in milliseconds, where the query has one. */
  readonly lifetimeMs?: number
  readonly sessionToken?: string
  /** 64 lower-case hex digits. */
  readonly signature: string
  /** All parameters but the signature, decoded. */
  readonly query: ReadonlyMap<string, string>
  /** What `x-amz-content-sha256` says of the body, where it is there. */
  readonly payloadHash?: string
}

/** What is looked at; beyond it a request is refused before any work. Session tokens of AWS come near 4 KiB. */
export const maxShown = { authorization: 4096, path: 8192, query: 16_384, headers: 64 } as const

/** AWS: a presigned URL is good for at most 7 days. */
export const maxLifetimeSeconds = 604_800

const algorithm = 'AWS4-HMAC-SHA256'

/** Whether a request shows a SigV4 signature, right or wrong. */
export function showsSignature({ headers, query }: HttpFacts): boolean {
  return /^AWS4-/i.test(headers['authorization'] ?? '') || signingParameter.test(query)
}

const signingParameter = /(?:^|&)X-Amz-(?:Algorithm|Credential|Signature)=/i

/**
 * Reads the header form or the query form (aws-security §4), strictly: a parameter that is missing, there twice or in both
 * forms, or of another shape is malformed. `malformed` says what, in words of ours, for the debug log.
 */
export function readSignature(http: HttpFacts): ShownSignature | { readonly malformed: string } {
  const { method, path, query: raw, headers } = http
  const authorization = headers['authorization']
  if (authorization !== undefined && authorization.length > maxShown.authorization)
    return no('Authorization is too long')
  if (path.length > maxShown.path || raw.length > maxShown.query) return no('the URL is too long')
  if (!/^[A-Z]{1,16}$/.test(method) || !/^\/[\x21-\x7e]*$/.test(path)) return no('the request line')
  const query = decodeQuery(raw)
  if (query === undefined) return no('the query has two readings')
  const inQuery = signingParameter.test(raw)
  if (authorization === undefined || !/^AWS4-/i.test(authorization)) return fromQuery(http, query)
  return inQuery ? no('signatures in Authorization and in the query') : fromHeader(http, authorization, query)
}

function fromHeader(
  http: HttpFacts,
  authorization: string,
  query: ReadonlyMap<string, string>,
): ShownSignature | { readonly malformed: string } {
  const match =
    /^AWS4-HMAC-SHA256 Credential=(?<credential>[^,\s]+), ?SignedHeaders=(?<signed>[^,\s]+), ?Signature=(?<signature>[0-9a-f]{64})$/.exec(
      authorization,
    )?.groups
  if (match === undefined) return no('Authorization')
  const { headers } = http
  const amzDate = headers['x-amz-date']
  const dated = amzDate === undefined ? 'date' : 'x-amz-date'
  const at = amzDate === undefined ? parseHttpDate(headers['date']) : parseAmzDate(amzDate)
  const scope = parseCredential(match['credential'])
  const signedHeaders = parseSignedHeaders(match['signed'], http)
  if (at === undefined) return no('X-Amz-Date or Date')
  if (scope === undefined) return no('Credential')
  if (signedHeaders === undefined || !signedHeaders.includes(dated)) return no('SignedHeaders')
  const sessionToken = headers['x-amz-security-token']
  if (sessionToken !== undefined && !signedHeaders.includes('x-amz-security-token'))
    return no('X-Amz-Security-Token is not signed')
  return withPayload(http, {
    form: 'header',
    ...scope,
    at,
    signedHeaders,
    query,
    signature: match['signature'] ?? '',
    ...(sessionToken !== undefined && { sessionToken }),
  })
}

function fromQuery(
  http: HttpFacts,
  parameters: ReadonlyMap<string, string>,
): ShownSignature | { readonly malformed: string } {
  const at = parseAmzDate(parameters.get('X-Amz-Date'))
  const scope = parseCredential(parameters.get('X-Amz-Credential'))
  const signedHeaders = parseSignedHeaders(parameters.get('X-Amz-SignedHeaders'), http)
  const signature = parameters.get('X-Amz-Signature') ?? ''
  const expires = parameters.get('X-Amz-Expires')
  const sessionToken = parameters.get('X-Amz-Security-Token')
  if (parameters.get('X-Amz-Algorithm') !== algorithm) return no('X-Amz-Algorithm')
  if (at === undefined) return no('X-Amz-Date')
  if (scope === undefined) return no('X-Amz-Credential')
  if (signedHeaders === undefined) return no('X-Amz-SignedHeaders')
  if (!/^[0-9a-f]{64}$/.test(signature)) return no('X-Amz-Signature')
  if (expires !== undefined && !/^[1-9]\d{0,5}$/.test(expires)) return no('X-Amz-Expires')
  if (Number(expires ?? 0) > maxLifetimeSeconds) return no('X-Amz-Expires')
  const query = new Map(parameters)
  query.delete('X-Amz-Signature')
  return withPayload(http, {
    form: 'query',
    ...scope,
    at,
    signedHeaders,
    query,
    signature,
    ...(expires !== undefined && { lifetimeMs: Number(expires) * 1000 }),
    ...(sessionToken !== undefined && { sessionToken }),
  })
}

/** `UNSIGNED-PAYLOAD` and the streaming forms are S3's: there the signature says nothing about the body. */
function withPayload(http: HttpFacts, shown: ShownSignature): ShownSignature | { readonly malformed: string } {
  const payloadHash = http.headers['x-amz-content-sha256']
  if (payloadHash === undefined) return shown
  return /^[0-9a-f]{64}$/.test(payloadHash) ? { ...shown, payloadHash } : no('X-Amz-Content-Sha256 is no hash')
}

function parseCredential(
  text: string | undefined,
): Pick<ShownSignature, 'accessKeyId' | 'day' | 'region' | 'service'> | undefined {
  const match =
    /^(?<id>[A-Za-z0-9]{1,128})\/(?<day>\d{8})\/(?<region>[a-z0-9-]{1,64})\/(?<service>[a-z0-9-]{1,64})\/aws4_request$/.exec(
      text ?? '',
    )?.groups
  if (match === undefined) return undefined
  const { id = '', day = '', region = '', service = '' } = match
  return { accessKeyId: id, day, region, service }
}

/** A list as AWS wants it; undefined where a name is out of order, twice, or not in the request, or `host` is not signed. */
function parseSignedHeaders(text: string | undefined, { headers }: HttpFacts): readonly string[] | undefined {
  const names = (text ?? '').split(';', maxShown.headers + 1)
  if (names.length > maxShown.headers || !names.includes('host')) return undefined
  const fine = names.every(
    (name, index) =>
      // A field name (RFC 9110 §5.1) in lower case.
      /^[a-z0-9!#$%&'*+.^`|~-]{1,128}$/.test(name) &&
      name !== 'authorization' &&
      Object.hasOwn(headers, name) &&
      (index === 0 || (names[index - 1] ?? '') < name),
  )
  return fine ? names : undefined
}

/** `20150830T123600Z`. */
function parseAmzDate(text: string | undefined): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text ?? '')
  if (match === null) return undefined
  const [, year, month, day, hour, minute, second] = match
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`
  const at = Date.parse(iso)
  // The 30th of February is no date, and would be read as a day of March.
  return Number.isNaN(at) || new Date(at).toISOString() !== iso ? undefined : at
}

/** `Sun, 30 Aug 2015 12:36:00 GMT` (RFC 9110 §5.6.7, IMF-fixdate), and the form of X-Amz-Date, which some signers put there. */
function parseHttpDate(text: string | undefined): number | undefined {
  if (text === undefined || text.length > 40) return undefined
  const at = Date.parse(text)
  return !Number.isNaN(at) && new Date(at).toUTCString() === text ? at : parseAmzDate(text)
}

function no(malformed: string): { readonly malformed: string } {
  return { malformed }
}
