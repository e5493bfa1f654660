import type { Presented, Principal, Verdict } from '../core/access.ts'
import type { PrincipalEntry } from '../core/directory.ts'
import { messageOf } from '../core/errors.ts'
import { createPacedLog } from '../core/paced-log.ts'
import { type AuthMethodContext, defineAuthMethod, type OpenedMethod, principalFrom } from './method.ts'
import type { CertificateRecord } from './records.ts'
import { type Authority, authoritiesOf, section, sectionKey } from './x509/authorities.ts'
import { CertificateCache, type KnownCertificate } from './x509/cache.ts'
import {
  type ClientCertificate,
  fingerprintOf,
  isValidAt,
  maxCertificateBytes,
  readClientCertificate,
} from './x509/certificate.ts'
import { authoritiesAbove, isIssuedBy, isRevokedBy, isUsable } from './x509/issuers.ts'
import { certificatesOf, proof, type ProofCertificate } from './x509/proof.ts'
import { provision } from './x509/provision.ts'
import { announcePending, registerPending } from './x509/register.ts'

/** One answer for every way of being wrong; what it was stands in our log. */
const refused: Verdict = { kind: 'refused', reason: 'unknown or refused certificate' }
const absent: Verdict = { kind: 'absent' }

/**
 * A client's certificate, whose private key the TLS handshake has proved. It is registered by its fingerprint: in a principal's
 * entry, or as a record that JITR, JITP or the command line has made; and only ACTIVE comes in (aws-security §3). A certificate that
 * is on the CRL of the registered authority that has issued it is refused whatever its status.
 */
export const x509 = defineAuthMethod({
  type: 'x509',
  summary: 'A client certificate: registered by fingerprint, or by itself through a registered authority (JITR, JITP).',
  proof,
  section,
  open: openX509,
})

/** A certificate in the files, with its principal. */
interface FileCertificate extends ProofCertificate {
  readonly entry: PrincipalEntry
}

function openX509(context: AuthMethodContext): OpenedMethod {
  const { registry, records, now, log } = context
  const authorities = authoritiesOf(registry.section(sectionKey))
  const inFiles = certificatesIn(registry.principals())
  const cache = context.keep('x509 certificates', () => new CertificateCache())
  const paced = createPacedLog(log)
  /** Connections over which a pending certificate was announced: one that stays open for many requests is one connect. */
  const announced = new WeakSet<object>()

  return {
    authenticate: (presented) => (presented.tls?.certificate === undefined ? absent : judge(presented, true)),
    renew: (presented) => judge(presented, false),
  }

  /** Whether an unknown certificate may be registered is asked once, when somebody comes. */
  async function judge(presented: Presented, mayRegister: boolean): Promise<Verdict> {
    const der = presented.tls?.certificate
    if (der === undefined) return absent
    if (der.length > maxCertificateBytes) return refuse('too large', {}, 'it is too large')
    const fingerprint = fingerprintOf(der)
    const known = cache.get(fingerprint) ?? read(der, fingerprint)
    if ('problem' in known) return refuse('unfit', { certificate: fingerprint }, known.problem)
    const { certificate } = known
    const issuers = authorities.filter((authority) => isIssuer(authority, known))
    const problem = validityProblem(certificate, issuers) ?? revocationProblem(certificate, issuers)
    if (problem !== undefined) return refuse('invalid', { certificate: fingerprint }, problem)

    const file = inFiles.get(fingerprint)
    if (file !== undefined) {
      if (file.status !== 'ACTIVE')
        return refuse(file.status, { certificate: fingerprint, principal: file.entry.name }, `it is ${file.status}`)
      if (records.certificate(fingerprint)?.status === 'REVOKED') {
        const facts = { certificate: fingerprint, principal: file.entry.name }
        paced.warn(
          'revoked record',
          facts,
          'a certificate is ACTIVE in identity/ and REVOKED in the records; the files win',
        )
      }
      return proved(principalFrom(file.entry, 'x509'), certificate)
    }
    // It would have that entry's policies and sessions, whoever that is.
    if (registry.principal(fingerprint) !== undefined)
      return refuse('name', { certificate: fingerprint }, 'an entry of identity/ has its name and not the certificate')
    const record = records.certificate(fingerprint)
    const settled = record !== undefined && record.status !== 'PENDING_ACTIVATION'
    const current = settled || !mayRegister ? record : await registered(certificate, issuers, presented, record)
    if (current?.status === 'ACTIVE') return proved(principalOf(current), certificate)
    // Where it was to be registered and was not, that has been said.
    if (settled || !mayRegister)
      return refuse(
        current?.status ?? 'unknown',
        { certificate: fingerprint },
        `it is ${current?.status ?? 'not registered'}`,
      )
    return refused
  }

  /** Reads it and finds who has issued it; keeps what is ours. */
  function read(der: Buffer, fingerprint: string): KnownCertificate | { readonly problem: string } {
    const certificate = readClientCertificate(der)
    if ('problem' in certificate) return certificate
    const known: KnownCertificate = { certificate, issuedBy: new Map() }
    const isOurs = inFiles.has(fingerprint) || records.certificate(fingerprint) !== undefined
    if (isOurs || authorities.some((authority) => isIssuer(authority, known))) cache.add(known)
    return known
  }

  /** The record of a certificate that isn't settled, after JITR or JITP; undefined where nothing came of it. */
  async function registered(
    certificate: ClientCertificate,
    issuers: readonly Authority[],
    presented: Presented,
    record: CertificateRecord | undefined,
  ): Promise<CertificateRecord | undefined> {
    const { fingerprint } = certificate
    const time = now()
    // An authority that has issued it itself decides, also by being INACTIVE; only without one do shown intermediates count.
    const above =
      issuers.length > 0 ? issuers : authoritiesAbove(certificate, presented.tls?.chain ?? [], authorities, time)
    const authority = above.find((each) => each.register !== 'refuse' && isUsable(each, time))
    const facts = { certificate: fingerprint, ...(authority !== undefined && { authority: authority.name }) }
    if (authority === undefined) {
      const status = record === undefined ? 'not registered' : record.status
      refuse('unregistered', facts, `it is ${status}, and no authority that registers certificates has issued it`)
      return undefined
    }
    try {
      if (authority.register === 'provision') {
        const provisioned = await provision(certificate, authority, context)
        log.info({ ...facts, thing: provisioned.thing, status: provisioned.status }, 'a certificate was provisioned')
        return provisioned
      }
      const pending = record ?? (await registerPending(certificate, authority, context))
      if (pending?.status === 'PENDING_ACTIVATION') {
        tell(pending, authority, presented)
        refuse('pending', facts, 'it waits for activation')
      }
      return pending
    } catch (error) {
      refuse(`registration ${authority.name}`, facts, messageOf(error))
      return undefined
    }
  }

  function tell(pending: CertificateRecord, authority: Authority, { http }: Presented): void {
    const connection = http?.connection
    if (connection !== undefined) {
      if (announced.has(connection)) return
      announced.add(connection)
    }
    announcePending(pending, authority, context)
  }

  /** Undefined where it is valid now. An authority may take certificates of its own that have expired. */
  function validityProblem(certificate: ClientCertificate, issuers: readonly Authority[]): string | undefined {
    const time = now()
    if (isValidAt(certificate, time)) return undefined
    const hasBegun = certificate.notBefore <= time
    if (hasBegun && certificate.notAfter < time && issuers.some(({ expired }) => expired === 'accept')) return undefined
    return hasBegun ? 'it has expired' : 'it is not valid yet'
  }

  function revocationProblem(certificate: ClientCertificate, issuers: readonly Authority[]): string | undefined {
    for (const authority of issuers) {
      if (isOutdated(authority.crl, now())) paced.warn(`crl ${authority.name}`, { authority: authority.name }, outdated)
      if (isRevokedBy(authority, certificate)) return `it is on the CRL of ${authority.name}`
    }
    return undefined
  }

  function proved(principal: Principal, { fingerprint, facts, notAfter }: ClientCertificate): Verdict {
    const ends = notAfter >= now()
    return {
      kind: 'principal',
      principal: { ...principal, id: fingerprint, certificate: facts, ...(ends && { until: notAfter }) },
    }
  }

  function refuse(kind: string, facts: Readonly<Record<string, unknown>>, problem: string): Verdict {
    paced.warn(kind, { ...facts, problem }, 'a client certificate was refused')
    return refused
  }
}

const outdated = 'the CRL of a certificate authority is out of date; it is used all the same'

function isOutdated(crl: Authority['crl'], now: number): boolean {
  return crl?.nextUpdate !== undefined && crl.nextUpdate < now
}

/** Whether an authority has issued a certificate; the signature is verified once. */
function isIssuer({ id, certificate: { x509 } }: Authority, { certificate, issuedBy }: KnownCertificate): boolean {
  let issued = issuedBy.get(id)
  if (issued === undefined) {
    issued = isIssuedBy(certificate.x509, x509)
    issuedBy.set(id, issued)
  }
  return issued
}

/** The principal that a record is: its fingerprint is its name. */
function principalOf({ fingerprint, thing }: CertificateRecord): Principal {
  return { name: fingerprint, method: 'x509', ...(thing !== undefined && { thing }) }
}

/** By fingerprint. A certificate of two principals can't tell them apart, so it proves neither of them. */
function certificatesIn(entries: Iterable<PrincipalEntry>): ReadonlyMap<string, FileCertificate> {
  const found = new Map<string, FileCertificate>()
  for (const entry of entries) {
    const proof = entry.proofs['x509']
    if (proof === undefined) continue
    for (const certificate of certificatesOf(proof)) {
      const { fingerprint } = certificate
      const shared = found.has(fingerprint)
      found.set(fingerprint, { ...certificate, entry, ...(shared && { status: 'INACTIVE' as const }) })
    }
  }
  return found
}
