import { timingSafeEqual } from 'node:crypto'
import type * as smithy from '@smithy/signature-v4'
import type { HttpFacts } from '../../core/access.ts'
import { Sha256 } from './sha256.ts'
import type { ShownSignature } from './shown.ts'

/** SHA-256 of nothing: what a request without a body signs. */
export const emptyPayloadHash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/** Whether a signature is the one that this secret makes over this request and a body of this hash. Takes one path, whatever comes out. */
export type VerifySignature = (
  http: HttpFacts,
  shown: ShownSignature,
  key: { readonly accessKeyId: string; readonly secretAccessKey: string },
  payloadHash: string,
) => Promise<boolean>

/**
 * Signs what came in once more, with @smithy/signature-v4, and compares: for each way in which an honest client may have
 * written the same request. Canonical headers, query and keys are the package's; its `sign` and `presign` add headers and
 * parameters of their own, which AWS's recipe for WebSockets has not, so its steps are called one by one.
 */
export async function openVerifier(): Promise<VerifySignature> {
  const { SignatureV4, getCanonicalHeaders } = await import('@smithy/signature-v4')

  class Signer extends SignatureV4 {
    async signatureOf(
      request: Parameters<typeof smithy.getCanonicalHeaders>[0],
      headers: ReturnType<typeof smithy.getCanonicalHeaders>,
      payloadHash: string,
      { at, day, region, service }: ShownSignature,
    ): Promise<string> {
      const { longDate } = this.formatDate(new Date(at))
      const canonical = this.createCanonicalRequest(request, headers, payloadHash)
      const scope = `${day}/${region}/${service}/aws4_request`
      const text = await this.createStringToSign(longDate, scope, canonical, 'AWS4-HMAC-SHA256')
      return this.sign(text, { signingDate: new Date(at) })
    }
  }

  return async (http, shown, key, payloadHash) => {
    const { method, path, headers } = http
    const signed = new Set(shown.signedHeaders)
    const own = Object.fromEntries(shown.signedHeaders.map((name) => [name, headers[name] ?? '']))
    const request = { method, path, headers: own, protocol: 'https:', hostname: own['host'] ?? '' }
    const canonicalHeaders = getCanonicalHeaders({ ...request, query: {} }, undefined, signed)
    let right = false
    for (const uriEscapePath of pathForms(path)) {
      const { region, service } = shown
      const signer = new Signer({
        credentials: key,
        region,
        service,
        sha256: Sha256,
        uriEscapePath,
        applyChecksum: false,
      })
      for (const query of queryForms(shown)) {
        const expected = await signer.signatureOf({ ...request, query }, canonicalHeaders, payloadHash, shown)
        right = equalTexts(expected, shown.signature) || right
      }
    }
    return right
  }
}

/**
 * Whether to escape the path, for each form that is tried (feasibility-doors §5): AWS's SDKs and newer curls sign the wire path
 * escaped once more, curl up to 7 signs it as it is.
 *
 * One signature must not be good for two topics. The escaped form drops `.`, `..` and empty segments, so it is not tried for a path
 * that has any. And `/a%252F` as it is equals `/a%2F` escaped: a path with an escaped `%` is good in the escaped form only.
 */
function pathForms(path: string): readonly boolean[] {
  const normal = path
    .split('/')
    .slice(1)
    .every((segment, index, all) => !/^\.{0,2}$/.test(segment) || (segment === '' && index === all.length - 1))
  return [...(path.includes('%25') ? [] : [false]), ...(normal ? [true] : [])]
}

/**
 * A session token in the query is signed with it by the standard, and by AWS IoT's recipe added after signing (aws-security §4);
 * either way it is compared with the one that the key has.
 */
function queryForms({ form, query }: ShownSignature): readonly Record<string, string>[] {
  const whole = Object.fromEntries(query)
  if (form === 'header' || !query.has('X-Amz-Security-Token')) return [whole]
  const { 'X-Amz-Security-Token': _token, ...signed } = whole
  return [whole, signed]
}

/** Compares in constant time; texts of different lengths are different, and a signature's length is no secret. */
export function equalTexts(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left, 'utf8'), Buffer.from(right, 'utf8')]
  return a.length === b.length && timingSafeEqual(a, b)
}
