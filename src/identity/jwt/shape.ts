import type { Presented } from '../../core/access.ts'

/** Longest token that is looked into, in bytes: Keycloak's with many roles have 4 KiB, and headers end at 16 KiB. */
export const maxJwtBytes = 8192

/** A text that is a JWT by its shape. Nothing of it has been verified. */
export interface JwtShape {
  readonly token: string
  readonly header: Readonly<Record<string, unknown>>
  readonly alg: string
  /** Who it says has issued it. */
  readonly iss: string
  /** Whether each part is the only way to write its bytes: base64url has spare bits at the end that decoders ignore. */
  readonly canonical: boolean
}

/**
 * The JWT that was presented, as a bearer or an MQTT password. `too-long`: it begins like one and won't be looked into. Undefined:
 * nothing that is one, and another method may know what it is. The MQTT user name is not looked at: the token says who it is.
 */
export function presentedJwt({ bearer, password }: Presented): JwtShape | 'too-long' | undefined {
  // A bearer and a password are two proofs; the bearer is the one that the request is made with.
  if (bearer !== undefined) return shapeOf(bearer)
  if (password === undefined) return undefined
  // Any byte that is no ASCII stays one that no JWT has.
  return shapeOf(password.toString('latin1'))
}

/** Three base64url parts (RFC 7515 §7.1), a header with `alg`, claims with `iss`. The last part is empty where nobody signed. */
function shapeOf(token: string): JwtShape | 'too-long' | undefined {
  if (token.length > maxJwtBytes) return /^eyJ[\w-]*\.[\w-]+\.[\w-]*$/.test(token) ? 'too-long' : undefined
  const match = /^([\w-]+)\.([\w-]+)\.([\w-]*)$/.exec(token)
  if (match === null) return undefined
  const parts = match.slice(1)
  const header = decoded(parts[0])
  const claims = decoded(parts[1])
  const { alg } = header ?? {}
  const { iss } = claims ?? {}
  if (header === undefined || typeof alg !== 'string' || typeof iss !== 'string') return undefined
  const canonical = parts.every((part) => Buffer.from(part, 'base64url').toString('base64url') === part)
  return { token, header, alg, iss, canonical }
}

const strict = new TextDecoder('utf-8', { fatal: true })

function decoded(part: string | undefined): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(strict.decode(Buffer.from(part ?? '', 'base64url')))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : undefined
  } catch {
    return undefined
  }
}
