import { createHash, createHmac, randomUUID } from 'node:crypto'
import type { Ports } from './door-clients.ts'
import type { Oidc } from './oidc.ts'
import { canary } from './hostile-text.ts'

/** Headers of a request that would be let in as it stands. */
export interface SignedHeaders {
  readonly [name: string]: string
}

/** Right credentials, of which the attempts are made by spoiling them, and JWTs that are wrong as they are. */
export interface Lures {
  /** Of the principal `tok`. */
  readonly token: string
  /** Of the principal `pw`. */
  readonly password: string
  readonly jwt: string
  readonly wrongJwts: readonly string[]
  /** What the custom authorizer `tokens` takes. */
  readonly authorizerToken: string
  /** `POST /topics/ok/x` with the body `x`, signed and never used. */
  readonly signed: { readonly http: SignedHeaders; readonly https: SignedHeaders }
  /** Query of `GET /mqtt`, signed and never used. */
  readonly signedQuery: { readonly http: string; readonly https: string }
  readonly webhook: SignedHeaders
}

export const keys = {
  region: 'eu-west-1',
  accessKeyId: 'AKIDEXAMPLE000000001',
  secretAccessKey: 'a secret access key of 40 characters....',
  token: 'token-of-tok-0123456789abcdef',
  password: 'correct horse battery',
  authorizerToken: 'let me in',
  webhookSecret: `whsec_${Buffer.from('a secret of thirty-two characters').toString('base64')}`,
} as const

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()

/** SigV4 by AWS's recipe, for requests as simple as these. */
function signature(service: string, date: string, canonicalRequest: string): { scope: string; signature: string } {
  const day = date.slice(0, 8)
  const scope = `${day}/${keys.region}/${service}/aws4_request`
  const text = ['AWS4-HMAC-SHA256', date, scope, sha256(canonicalRequest)].join('\n')
  const key = [day, keys.region, service, 'aws4_request'].reduce<string | Buffer>(
    (secret, part) => hmac(secret, part),
    `AWS4${keys.secretAccessKey}`,
  )
  return { scope, signature: hmac(key, text).toString('hex') }
}

const dateNow = () => new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '')

/** Headers that sign `POST /topics/ok/x`. */
export function signedPost(port: number, body: string): SignedHeaders {
  const [host, date] = [`127.0.0.1:${port}`, dateNow()]
  const names = 'host;x-amz-date'
  const request = ['POST', '/topics/ok/x', '', `host:${host}`, `x-amz-date:${date}`, '', names, sha256(body)].join('\n')
  const { scope, signature: hex } = signature('iotdata', date, request)
  const credential = `${keys.accessKeyId}/${scope}`
  return {
    host,
    'x-amz-date': date,
    authorization: `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names}, Signature=${hex}`,
  }
}

let count = 0

/** A query that signs `GET /mqtt`, another one each time, within the same second too: each is good for once. */
export function signedQuery(port: number): string {
  const date = dateNow()
  const scope = `${date.slice(0, 8)}/${keys.region}/iotdevicegateway/aws4_request`
  const query = [
    'X-Amz-Algorithm=AWS4-HMAC-SHA256',
    `X-Amz-Credential=${encodeURIComponent(`${keys.accessKeyId}/${scope}`)}`,
    `X-Amz-Date=${date}`,
    `X-Amz-Expires=${60 + (count += 1)}`,
    'X-Amz-SignedHeaders=host',
  ].join('&')
  const request = ['GET', '/mqtt', query, `host:127.0.0.1:${port}`, '', 'host', sha256('')].join('\n')
  return `${query}&X-Amz-Signature=${signature('iotdevicegateway', date, request).signature}`
}

/** Headers of a webhook by `hook`. */
export function signedWebhook(body: string): SignedHeaders {
  const [id, at] = [randomUUID(), String(Math.floor(Date.now() / 1_000))]
  const secret = Buffer.from(keys.webhookSecret.slice('whsec_'.length), 'base64')
  return {
    'x-sluice-principal': 'hook',
    'webhook-id': id,
    'webhook-timestamp': at,
    'webhook-signature': `v1,${hmac(secret, `${id}.${at}.${body}`).toString('base64')}`,
  }
}

export async function makeLures(ports: Ports, oidc: Oidc): Promise<Lures> {
  const jwt = await oidc.token()
  const now = Math.floor(Date.now() / 1_000)
  const [header = '', claims = '', proof = ''] = jwt.split('.')
  const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const known = JSON.parse(Buffer.from(header, 'base64url').toString()) as Record<string, unknown>
  const publicKey = JSON.stringify(oidc.keys()[0] ?? {})
  const byPublicKey = `${encoded({ ...known, alg: 'HS256' })}.${claims}`
  return {
    token: keys.token,
    password: keys.password,
    authorizerToken: keys.authorizerToken,
    jwt,
    wrongJwts: [
      await oidc.token((all) => Object.assign(all, { exp: now - 3_600 })),
      await oidc.token((all) => Object.assign(all, { nbf: now + 3_600 })),
      await oidc.token((all) => Object.assign(all, { aud: canary })),
      await oidc.token((all) => Object.assign(all, { iss: `${oidc.issuer}/` })),
      `${encoded({ ...known, alg: 'none' })}.${claims}.`,
      `${encoded({ ...known, alg: 'none' })}.${claims}.${proof}`,
      `${byPublicKey}.${hmac(publicKey, byPublicKey).toString('base64url')}`,
      `${encoded({ ...known, kid: canary })}.${claims}.${proof}`,
      `${encoded({ ...known, kid: '../../etc/passwd' })}.${claims}.${proof}`,
      `${encoded({ ...known, crit: ['x'], x: 1 })}.${claims}.${proof}`,
      `${encoded({ ...known, jwk: oidc.keys()[0], jku: 'http://127.0.0.1:1/' })}.${claims}.${proof}`,
      `${header}.${encoded({ sub: 'alice' })}.${proof}`,
      `${header}.${claims}.`,
      `${header}.${claims}.${Buffer.alloc(64).toString('base64url')}`,
      `${header}.${claims}.${proof}.${proof}.${proof}`,
      `${header}..${proof}`,
      `${encoded('x')}.${encoded([])}.${proof}`,
      `eyJ${'A'.repeat(9_000)}.${claims}.${proof}`,
      `${encoded({ ...known, x: '['.repeat(2_000) })}.${encoded(null)}.${proof}`,
    ],
    signed: { http: signedPost(ports.http, 'x'), https: signedPost(ports.https, 'x') },
    signedQuery: { http: signedQuery(ports.http), https: signedQuery(ports.https) },
    webhook: signedWebhook('x'),
  }
}
