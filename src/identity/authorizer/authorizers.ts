import { type KeyObject, randomUUID } from 'node:crypto'
import type { Presented, Principal, Verdict } from '../../core/access.ts'
import { messageOf } from '../../core/errors.ts'
import type { AuthMethod, AuthMethodContext, OpenedMethod } from '../method.ts'
import { type Answer, readAnswer } from './answer.ts'
import { CallFailed } from './call-failed.ts'
import { type Choice, choose } from './choose.ts'
import { eventOf, shownIn } from './event.ts'
import { fingerprintOf, functionOf, type KeptFunction } from './function.ts'
import { linesPerKind } from './settings.ts'
import { createPacedLog } from '../../core/paced-log.ts'
import { said } from './parameters.ts'
import { type AuthorizerSettings, signatureParameter } from './settings.ts'
import { isShortEnough, isSigned, readSigningKey } from './signature.ts'

/** One answer for every way of being wrong, an unknown authorizer among them. */
const refused: Verdict = { kind: 'refused', reason: 'unknown authorizer or wrong credential' }

interface Authorizer {
  readonly settings: AuthorizerSettings
  readonly keys: readonly KeyObject[]
  readonly fingerprint: string
  readonly function: KeptFunction
}

/** What a verdict rests on. */
interface Issued {
  readonly authorizer: string
  readonly fingerprint: string
  readonly principalId: string
  readonly connectionId: string
  readonly documents: readonly unknown[]
  readonly until: number
  readonly renewAt: number
}

/**
 * By the list of documents that a principal carries: each verdict has a list of its own, and it is what stays the same when a
 * principal is copied. Survives reloads, as connections do.
 */
const verdicts = new WeakMap<readonly unknown[], Issued>()

/** Verdicts that a connection remembers (`cacheForHttp`); a proxy's may carry the requests of many. */
const remembered = 256

/** Which of those that come this method is asked about: who names an authorizer, or who names none. */
export type Share = 'named' | 'default'

/**
 * Custom authorizers over one snapshot of the identities (aws-security §5). Two methods share it: `authorizer` is asked first,
 * about those who name one and those of whom a certificate is wanted besides; `default-authorizer` last, about all others. `x509` is
 * the method that judges certificates.
 */
export function openAuthorizers(
  context: AuthMethodContext,
  method: string,
  share: Share,
  x509?: Pick<AuthMethod, 'open'>,
): OpenedMethod {
  const { registry, records, now } = context
  const log = createPacedLog(context.log, { lines: linesPerKind })
  const settings = new Map<string, AuthorizerSettings>()
  const authorizers = new Map<string, Authorizer>()
  for (const [name, { value }] of registry.section('authorizers')) {
    const own = value as AuthorizerSettings
    settings.set(name, own)
    if (own.status !== 'ACTIVE') continue
    // Both call their identities NAME:ID, and a session belongs to who has the name.
    if (registry.section('issuers').has(name)) {
      log.warn('name', { authorizer: name }, 'an authorizer has the name of an issuer; it refuses everybody')
    } else {
      authorizers.set(name, openOne(own))
    }
  }
  const wanted = [...authorizers.values()].some((one) => one.settings.certificate === 'required')
  const certificates = wanted ? x509?.open(context) : undefined
  /** Per HTTP connection: what was shown, and the verdict about it. */
  const cache = new WeakMap<object, Map<string, Issued>>()
  const connectionIds = new WeakMap<object, string>()

  return {
    authenticate(presented) {
      const choice = choose(settings, presented)
      if (!isMine(choice, presented)) return { kind: 'absent' }
      const chosen = chosenOf(choice)
      return chosen === undefined ? refused : ask(chosen, presented)
    },

    async renew(presented, principal) {
      const issued = principal.documents === undefined ? undefined : verdicts.get(principal.documents)
      const chosen = chosenOf(choose(settings, presented))
      if (chosen === undefined) return refused
      const { until } = principal
      if (until !== undefined && now() >= until) return refused
      const [name] = principal.name.split(':')
      if (chosen.settings.name !== name) return no(chosen, 'another authorizer is to be asked now')
      if (issued?.fingerprint !== chosen.fingerprint || now() >= issued.renewAt) {
        return ask(chosen, presented, { principal, connectionId: issued?.connectionId ?? randomUUID() })
      }
      if (chosen.settings.certificate === 'none') return { kind: 'principal', principal }
      const certificate = await certificateOf(presented)
      if (certificate === undefined) return no(chosen, 'the certificate is not valid any more')
      return { kind: 'principal', principal: principalOf(issued, certificate) }
    },
  }

  function openOne(own: AuthorizerSettings): Authorizer {
    const keys: KeyObject[] = []
    for (const [name, pem] of Object.entries(own.tokenSigningPublicKeys)) {
      const key = readSigningKey(pem)
      if (typeof key !== 'string') keys.push(key)
      else log.warn('key', { authorizer: own.name, key: name, problem: key }, 'a key of an authorizer is not usable')
    }
    const fingerprint = fingerprintOf(own)
    return { settings: own, keys, fingerprint, function: functionOf(own, fingerprint, context) }
  }

  function isMine(choice: Choice, { tls }: Presented): boolean {
    if (choice.kind === 'none') return false
    const first = choice.named || tls?.certificate !== undefined
    return first === (share === 'named')
  }

  function chosenOf(choice: Choice): Authorizer | undefined {
    if (choice.kind === 'ask') return authorizers.get(choice.authorizer)
    if (choice.kind === 'refused') {
      const { because: problem, authorizer } = choice
      log.warn(
        'refused',
        { ...(authorizer !== undefined && { authorizer }), problem },
        'an authorizer refused somebody',
      )
    }
    return undefined
  }

  /** `before`: of a connection that is asked about again; it stays who it is, and never gets longer to live. */
  async function ask(
    chosen: Authorizer,
    presented: Presented,
    before?: { readonly principal: Principal; readonly connectionId: string },
  ): Promise<Verdict> {
    const { settings: own } = chosen
    const token = tokenOf(chosen, presented)
    if (token === undefined) return no(chosen, 'no token with a valid signature was shown')
    const certificate = own.certificate === 'required' ? await certificateOf(presented) : undefined
    if (own.certificate === 'required' && certificate === undefined) return no(chosen, 'no valid certificate was shown')
    const connectionId = before?.connectionId ?? connectionIdOf(presented)
    const event = eventOf(presented, {
      token: token.value,
      signatureVerified: token.verified,
      connectionId,
      ...(certificate !== undefined && { certificateId: idOf(certificate) }),
    })
    if (event === undefined) return no(chosen, 'the HTTP headers and query have more than 8 KB')

    const connection = own.cacheForHttp && presented.protocol === 'http' ? presented.http?.connection : undefined
    const shown = connection === undefined ? '' : `${own.name} ${chosen.fingerprint} ${shownIn(event)}`
    const known = connection === undefined ? undefined : cache.get(connection)?.get(shown)
    if (known !== undefined && now() < Math.min(known.renewAt, known.until)) {
      return { kind: 'principal', principal: principalOf(known, certificate) }
    }

    const answer = await answerOf(chosen, () => chosen.function.invoke(event, before !== undefined))
    if (answer === undefined) return refused
    const { principalId, policyDocuments, disconnectAfterInSeconds, refreshAfterInSeconds } = answer
    if (certificate !== undefined && principalId !== idOf(certificate)) {
      return no(chosen, 'answered with a principalId that is not the id of the certificate')
    }
    const name = `${own.name}:${principalId}`
    if (registry.principal(name) !== undefined) return no(chosen, 'an entry of identity/ has the name of its identity')
    if (before !== undefined && name !== before.principal.name) {
      return no(chosen, 'answered with another principalId than before about the same connection')
    }
    const time = now()
    const issued: Issued = {
      authorizer: own.name,
      fingerprint: chosen.fingerprint,
      principalId,
      connectionId,
      documents: policyDocuments,
      until: before?.principal.until ?? time + disconnectAfterInSeconds * 1_000,
      renewAt: time + refreshAfterInSeconds * 1_000,
    }
    if (connection !== undefined) keepFor(connection, shown, issued)
    return { kind: 'principal', principal: principalOf(issued, certificate) }
  }

  /** The token, checked before anybody is asked about it. Undefined: a signature is wanted, and there is none that is right. */
  function tokenOf(
    { settings: own, keys }: Authorizer,
    presented: Presented,
  ): { readonly value: string | undefined; readonly verified: boolean } | undefined {
    const token = own.tokenKeyName === undefined ? ({ kind: 'nothing' } as const) : said(presented, own.tokenKeyName)
    if (token.kind === 'unclear' || (token.kind === 'value' && !isShortEnough(token.value))) return undefined
    if (own.signing === 'disabled') return { value: token.kind === 'value' ? token.value : undefined, verified: false }
    const signature = said(presented, signatureParameter)
    if (token.kind !== 'value' || signature.kind !== 'value') return undefined
    return isSigned(token.value, signature.value, keys) ? { value: token.value, verified: true } : undefined
  }

  /** The principal of a registered, ACTIVE certificate: what the method `x509` says of it. */
  async function certificateOf(presented: Presented): Promise<Principal | undefined> {
    if (certificates === undefined || presented.tls?.certificate === undefined) return undefined
    const verdict = await certificates.authenticate(presented)
    return verdict.kind === 'principal' ? verdict.principal : undefined
  }

  async function answerOf(
    { settings: own }: Authorizer,
    call: () => Promise<string>,
  ): Promise<Extract<Answer, { kind: 'yes' }> | undefined> {
    let answer: Answer
    try {
      answer = readAnswer(await call())
    } catch (error) {
      const problem = error instanceof CallFailed ? error.message : `the call failed: ${messageOf(error)}`
      log.warn('call', { authorizer: own.name, problem }, 'an authorizer gave no answer; it refuses')
      return undefined
    }
    if (answer.kind === 'yes') return answer
    if (answer.kind === 'malformed') {
      const { field, problem } = answer
      log.warn('answer', { authorizer: own.name, field, problem }, 'an authorizer gave a malformed answer; it refuses')
    }
    return undefined
  }

  function no({ settings: own }: Authorizer, problem: string): Verdict {
    log.warn('refused', { authorizer: own.name, problem }, 'an authorizer refused somebody')
    return refused
  }

  function principalOf(issued: Issued, certificate: Principal | undefined): Principal {
    const { authorizer, principalId, until, renewAt } = issued
    // The same list for the same answer, so that what is compiled from it may be kept by it.
    const more = certificate?.documents ?? []
    const documents = more.length === 0 ? issued.documents : [...more, ...issued.documents]
    verdicts.set(documents, issued)
    return {
      name: `${authorizer}:${principalId}`,
      id: principalId,
      method,
      ...(certificate !== undefined && ofCertificate(certificate)),
      documents,
      until: Math.min(until, certificate?.until ?? Infinity),
      renewAt: Math.min(renewAt, certificate?.renewAt ?? Infinity),
    }
  }

  /** What a certificate brings along: its thing, its facts, and its policies, which are in force beside the authorizer's. */
  function ofCertificate(certificate: Principal): Partial<Principal> {
    const { name, thing, groups, policies = [], certificate: facts } = certificate
    const attached = registry.principal(name)?.policies ?? records.certificate(name)?.policies ?? []
    return {
      policies: [...attached, ...policies],
      ...(thing !== undefined && { thing }),
      ...(groups !== undefined && { groups }),
      ...(facts !== undefined && { certificate: facts }),
    }
  }

  function connectionIdOf({ protocol, http }: Presented): string {
    const connection = protocol === 'http' ? http?.connection : undefined
    if (connection === undefined) return randomUUID()
    let id = connectionIds.get(connection)
    if (id === undefined) {
      id = randomUUID()
      connectionIds.set(connection, id)
    }
    return id
  }

  function keepFor(connection: object, shown: string, issued: Issued): void {
    let known = cache.get(connection)
    if (known === undefined || known.size >= remembered) {
      known = new Map()
      cache.set(connection, known)
    }
    known.set(shown, issued)
  }
}

function idOf(certificate: Principal): string {
  return certificate.id ?? certificate.certificate?.certificateId ?? certificate.name
}
