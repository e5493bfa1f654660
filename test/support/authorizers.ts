import { generateKeyPairSync, sign } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import type { Presented, Principal, TlsFacts, Verdict } from '../../src/core/access.ts'
import type { PrincipalEntry } from '../../src/core/directory.ts'
import { authorizerSettings } from '../../src/identity/authorizer/settings.ts'
import { createAuthorizerMethod } from '../../src/identity/authorizer.ts'
import { defaultAuthorizer } from '../../src/identity/default-authorizer.ts'
import type { AuthMethod } from '../../src/identity/method.ts'
import { createRegistry, type Registry } from '../../src/identity/registry.ts'
import { authContext, type TestAuthContext } from './auth-context.ts'
import type { Scope } from './cleanup.ts'
import { directoryOf } from './directory.ts'
import { keepLines, type Lines } from './logs.ts'

/** An entry of `authorizers:` as a file would have it. */
export type Written = Readonly<Record<string, unknown>> & { readonly name: string }

/** The path of a module in test/fixtures/authorizers. */
export const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/authorizers/${name}`, import.meta.url))

/** An answer that lets `device1` in, with what differs. */
export const letIn = (more: Readonly<Record<string, unknown>> = {}) => ({
  isAuthenticated: true,
  principalId: 'device1',
  policyDocuments: [],
  disconnectAfterInSeconds: 3600,
  refreshAfterInSeconds: 300,
  ...more,
})

export interface SigningPair {
  /** PEM. */
  readonly publicKey: string
  readonly privateKey: string
  /** As a device signs its token: base64. */
  readonly signed: (token: string) => string
}

export function signingPair(): SigningPair {
  const encoding = {
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  } as const
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048, ...encoding })
  return { publicKey, privateKey, signed: (token) => sign('sha256', Buffer.from(token), privateKey).toString('base64') }
}

/** No certificate is ever shown, or none is any good. */
export const noCertificates: Pick<AuthMethod, 'open'> = {
  open: () => ({ authenticate: async () => ({ kind: 'absent' }) }),
}

export interface Authorizers {
  readonly registry: Registry
  readonly log: Lines
  readonly context: TestAuthContext
  /** Milliseconds since 1970, as the methods see it. */
  time: number
  /** Asks both methods, as the index does, with nothing between them. */
  readonly authenticate: (presented: Presented) => Promise<Verdict>
  readonly renew: (presented: Presented, principal: Principal) => Promise<Verdict>
  /** The identities have changed: both methods are opened anew, and what nobody asked for is closed. */
  readonly reload: (authorizers: readonly Written[]) => void
}

/** Both methods over some authorizers. What they keep ends with the test. */
export function openBoth(
  scope: Scope,
  authorizers: readonly Written[],
  more: {
    readonly x509?: Pick<AuthMethod, 'open'>
    readonly principals?: readonly (Partial<PrincipalEntry> & Pick<PrincipalEntry, 'name'>)[]
    readonly policies?: readonly string[]
  } = {},
): Authorizers {
  const log = keepLines()
  const kept = new Map<string, { readonly value: { close?: () => void }; used: boolean }>()
  const method = createAuthorizerMethod(more.x509 ?? noCertificates)
  const keep = <Kept extends { close?: () => void }>(key: string, make: () => Kept): Kept => {
    const known = kept.get(key) ?? { value: make(), used: true }
    known.used = true
    kept.set(key, known)
    return known.value as Kept
  }
  scope.after(() => {
    for (const { value } of kept.values()) value.close?.()
  })
  const own = { time: Date.UTC(2026, 0, 1) }
  const registryOf = (written: readonly Written[]) =>
    createRegistry(
      directoryOf({
        principals: more.principals ?? [],
        policies: more.policies ?? [],
        sections: { authorizers: written.map((one) => authorizerSettings.parse(one)) },
      }),
    )
  const open = (registry: Registry) => {
    const context = authContext(registry, { log, keep, now: () => own.time })
    return { registry, context, named: method.open(context), byDefault: defaultAuthorizer.open(context) }
  }
  let opened = open(registryOf(authorizers))
  return {
    get registry() {
      return opened.registry
    },
    get context() {
      return opened.context
    },
    get time() {
      return own.time
    },
    set time(time) {
      own.time = time
    },
    log,
    async authenticate(presented) {
      const verdict = await opened.named.authenticate(presented)
      return verdict.kind === 'absent' ? opened.byDefault.authenticate(presented) : verdict
    },
    async renew(presented, principal) {
      const { renew } = principal.method === 'authorizer' ? opened.named : opened.byDefault
      if (renew === undefined) throw new Error('no renew')
      return renew(presented, principal)
    },
    reload(written) {
      for (const one of kept.values()) one.used = false
      opened = open(registryOf(written))
      for (const [key, one] of kept) {
        if (one.used) continue
        one.value.close?.()
        kept.delete(key)
      }
    },
  }
}

/** An MQTT client that names an authorizer in its user name. */
export const mqttNaming = (name: string, password = 'open sesame', more: Partial<Presented> = {}): Presented => ({
  protocol: 'mqtt',
  clientId: 'c1',
  username: `somebody?x-amz-customauthorizer-name=${encodeURIComponent(name)}`,
  password: Buffer.from(password),
  ...more,
})

/** An HTTP request. */
export const httpRequest = (
  headers: Readonly<Record<string, string>>,
  query = '',
  more: { readonly connection?: object; readonly tls?: TlsFacts } = {},
): Presented => ({
  protocol: 'http',
  ...(more.tls !== undefined && { tls: more.tls }),
  http: {
    method: 'POST',
    path: '/topics/a',
    query,
    headers,
    ...(more.connection !== undefined && { connection: more.connection }),
  },
})

/** The problems that were logged. */
export const reasons = ({ lines }: Lines): readonly string[] =>
  lines.flatMap(({ facts: { problem } }) => (typeof problem === 'string' ? [problem] : []))
