import * as http from 'node:http'
import * as https from 'node:https'
import { OAuth2Issuer, OAuth2Service } from 'oauth2-mock-server'
import type { Scope } from './cleanup.ts'
import { listening } from './listening.ts'

/** Changes the claims and the header that a token would have. */
export type Change = (claims: Record<string, unknown>, header: Record<string, unknown>) => void

export interface Oidc {
  /** The `iss` of its tokens. */
  readonly issuer: string
  readonly jwks: string
  /** Paths that were asked for. */
  readonly requests: string[]
  /** Answers in the provider's place while it is there. */
  answer: http.RequestListener | undefined
  /** A token of `alice` for `sluice`, signed by the newest key. */
  token(change?: Change): Promise<string>
  /** A new key, under a new id. `withdraw`: the old ones are not published any more. */
  rotate(options?: { readonly withdraw?: boolean }): Promise<void>
  /** The public keys, as published. */
  keys(): readonly Readonly<Record<string, unknown>>[]
}

export interface OidcOptions {
  readonly algorithm?: string
  /** Serves over TLS, as PEM text. */
  readonly tls?: { readonly cert: string; readonly key: string }
}

/** An OpenID Connect provider (oauth2-mock-server) on a port of the loopback address. */
export async function startOidc(scope: Scope, { algorithm = 'ES256', tls }: OidcOptions = {}): Promise<Oidc> {
  const requests: string[] = []
  const listener: http.RequestListener = (request, response) => {
    requests.push(request.url ?? '')
    if (oidc.answer !== undefined) oidc.answer(request, response)
    else service.requestHandler(request, response)
  }
  const server = tls === undefined ? http.createServer(listener) : https.createServer({ ...tls }, listener)
  const port = await listening(server, scope)
  const url = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`

  let kid = 1
  let provider = new OAuth2Issuer()
  provider.url = url
  await provider.keys.generate(algorithm, { kid: `key-${kid}` })
  let service = new OAuth2Service(provider)

  const oidc: Oidc = {
    issuer: url,
    jwks: `${url}/jwks`,
    requests,
    answer: undefined,
    token: (change) =>
      provider.buildToken({
        kid: `key-${kid}`,
        scopesOrTransform(header, claims) {
          Object.assign(claims, { sub: 'alice', aud: 'sluice' })
          change?.(claims, header)
        },
      }),
    async rotate({ withdraw = false } = {}) {
      if (withdraw) {
        provider = new OAuth2Issuer()
        provider.url = url
        service = new OAuth2Service(provider)
      }
      kid += 1
      await provider.keys.generate(algorithm, { kid: `key-${kid}` })
    },
    keys: () => provider.keys.toJSON(),
  }
  return oidc
}
