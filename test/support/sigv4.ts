import { timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { SignatureV4 } from '@smithy/signature-v4'
import type { AwsKeys } from '../../src/core/credential.ts'
import { Sha256 } from '../../src/identity/sigv4/sha256.ts'

/** A request as a server got it. */
export interface SignedRequest {
  readonly method: string
  /** Path and query as they came. */
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** Who signed a request, or the AWS error code that says why nobody did. */
export type Verified =
  | { readonly keys: AwsKeys; readonly region: string; readonly service: string }
  | { readonly code: 'MissingAuthenticationToken' | 'InvalidClientTokenId' | 'SignatureDoesNotMatch' }

/**
 * Checks a signature as AWS does: signs what came in once more with the keys that we know under that access key id, and
 * compares. Nothing but the right secret, session token, body and host gives the same.
 */
export async function verifySignature(
  request: SignedRequest,
  keysOf: (accessKeyId: string) => AwsKeys | undefined,
): Promise<Verified> {
  const shown = request.headers.authorization ?? ''
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/\d{8}\/([^/]+)\/([^/]+)\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=/.exec(
      shown,
    )
  const date = parseDate(request.headers['x-amz-date'])
  if (match === null || date === undefined) return { code: 'MissingAuthenticationToken' }
  const [, accessKeyId = '', region = '', service = '', signedHeaders = ''] = match
  const keys = keysOf(accessKeyId)
  if (keys === undefined) return { code: 'InvalidClientTokenId' }
  // The signer adds these by itself, from what it knows: that is the check of body and session token.
  const own = new Set(['x-amz-date', 'x-amz-security-token', 'x-amz-content-sha256'])
  const headers = signedHeaders
    .split(';')
    .filter((name) => !own.has(name))
    .map((name) => [name, String(request.headers[name] ?? '')] as const)
  const url = new URL(request.url, 'http://host')
  const signer = new SignatureV4({ credentials: keys, region, service, sha256: Sha256 })
  const { headers: signed } = await signer.sign(
    {
      method: request.method,
      protocol: 'http:',
      hostname: String(request.headers.host),
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: Object.fromEntries(headers),
      body: request.body,
    },
    { signingDate: date },
  )
  const expected = Buffer.from(String(signed['authorization']))
  const given = Buffer.from(shown)
  const same = expected.length === given.length && timingSafeEqual(expected, given)
  return same ? { keys, region, service } : { code: 'SignatureDoesNotMatch' }
}

/** `20261123T201328Z`. */
function parseDate(text: string | string[] | undefined): Date | undefined {
  const iso = String(text).replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z')
  const date = new Date(iso)
  return Number.isNaN(date.getTime()) ? undefined : date
}
