import { createHash } from 'node:crypto'
import type { Principal } from '../../core/access.ts'
import type { PrincipalEntry } from '../../core/directory.ts'
import { principalFrom } from '../method.ts'
import type { Registry } from '../registry.ts'
import { type Claims, claimAt, textsOf } from './claims.ts'
import type { IssuerSettings } from './issuer.ts'
import type { Checked } from './verify.ts'

export interface IdentityOptions {
  readonly issuer: IssuerSettings
  readonly registry: Registry
  /** The entry in identity/ that claims this issuer's subject. */
  readonly entryOf: (issuer: string, subject: string) => PrincipalEntry | 'several' | undefined
  /** The part of an identity id before its colon. */
  readonly region: string
  /** Milliseconds since 1970. */
  readonly now: number
}

/** The principal that verified claims are of, or why there is none. */
export function identityOf(claims: Claims, options: IdentityOptions): Checked<Principal> {
  const { issuer, registry } = options
  const { sub = '' } = claims
  const until = untilOf(claims, options)
  const guest = textsOf(claims['amr'])?.includes('unauthenticated') === true
  if (guest && issuer.unauthenticated === undefined) return { why: 'an unauthenticated identity, and none are let in' }

  // An entry attaches things to somebody who has proved who they are. A guest hasn't.
  const entry = guest ? undefined : options.entryOf(issuer.name, sub)
  if (entry === 'several') return { why: 'several entries claim this identity' }
  const name = entry?.name ?? nameOf(issuer.name, sub)
  if (entry === undefined && registry.principal(name) !== undefined)
    return { why: `the name ${name} belongs to an entry that does not claim this identity` }

  const role = guest ? issuer.unauthenticated?.role : issuer.pool?.role
  const pooled = role === undefined ? undefined : identityIdOf(claims, options)
  if (role !== undefined && pooled === undefined) return { why: 'its claim for the identity id holds none' }
  const common: Principal = {
    ...(entry === undefined ? { name, method: 'jwt' } : principalFrom(entry, 'jwt')),
    id: pooled ?? (isVisible(sub) ? sub : name),
    until,
    ...(role !== undefined &&
      pooled !== undefined && {
        pool: { kind: guest ? 'unauthenticated' : 'authenticated', identityId: pooled, role },
      }),
  }
  // aws-security §6: the role's policies alone.
  if (guest) return { value: common }

  const thing = common.thing === undefined ? thingOf(claims, options) : { value: common.thing }
  if ('why' in thing) return thing
  const groups = groupsOf(claims, issuer)
  if ('why' in groups) return groups
  return {
    value: {
      ...common,
      ...(thing.value !== undefined && { thing: thing.value }),
      ...(issuer.policies.length > 0 && { policies: issuer.policies }),
      ...(groups.value.length > 0 && { groups: groups.value }),
    },
  }
}

/** One subject, one name, and no two subjects the same: what can't stand in a name is told by a hash behind another sign. */
function nameOf(issuer: string, sub: string): string {
  const name = `${issuer}:${sub}`
  if (isVisible(name) && name.length <= 128) return name
  return `${issuer}#${createHash('sha256').update(sub, 'utf8').digest('hex')}`
}

/** Visible ASCII: names stand in logs, and are MQTT user names. */
function isVisible(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text)
}

/** `exp`, or the age that ends the token earlier. A token that came in its leeway ends with it: it would be out at once. */
function untilOf({ exp = 0, iat }: Claims, { issuer, now }: IdentityOptions): number {
  const byAge = issuer.maxAge === undefined || iat === undefined ? Number.POSITIVE_INFINITY : iat * 1000 + issuer.maxAge
  const end = Math.min(exp * 1000, byAge)
  return end > now ? end : end + issuer.leeway
}

/** What Amazon Cognito's identity ids look like: `region:uuid`, at most 55 characters (GetId, IdentityId). */
const identityIdShape = /^[\w-]+:[0-9a-f-]+$/

function identityIdOf(claims: Claims, { issuer, region }: IdentityOptions): string | undefined {
  const path = issuer.pool?.identityId
  if (path === undefined) return `${region}:${uuidOf(issuer.issuer, claims.sub ?? '')}`
  const id = claimAt(claims, path)
  return typeof id === 'string' && id.length <= 55 && identityIdShape.test(id) ? id : undefined
}

/** UUID version 8 from a SHA-256 (RFC 9562 §5.8 and Appendix B.2): the same for the same issuer and subject, everywhere. */
function uuidOf(issuer: string, subject: string): string {
  const bytes = createHash('sha256')
    .update(JSON.stringify([issuer, subject]), 'utf8')
    .digest()
    .subarray(0, 16)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** A thing that isn't there any more takes its identities along: its own policies may have been what held them back. */
function thingOf(claims: Claims, { issuer, registry }: IdentityOptions): Checked<string | undefined> {
  const path = issuer.claims.thing
  const name = path === undefined ? undefined : claimAt(claims, path)
  if (name === undefined) return { value: undefined }
  return typeof name === 'string' && registry.thing(name) !== undefined
    ? { value: name }
    : { why: 'its claim for the thing names none that is registered' }
}

/** Group names as identity/ has them. */
const groupName = /^[a-zA-Z0-9:_.-]{1,128}$/

/** The registry has no policies for a group that doesn't exist; what can't be a name isn't handed on. */
function groupsOf(claims: Claims, issuer: IssuerSettings): Checked<readonly string[]> {
  const path = issuer.claims.groups
  const value = path === undefined ? undefined : claimAt(claims, path)
  if (value === undefined) return { value: [] }
  const names = textsOf(value)
  if (names === undefined) return { why: 'its claim for the groups is no list of names' }
  return { value: [...new Set(names)].filter((name) => groupName.test(name)) }
}
