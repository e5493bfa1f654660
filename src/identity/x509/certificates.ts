import { SluiceError } from '../../core/errors.ts'
import type { CertificateRecord, CertificateStatus, Records } from '../records.ts'
import type { Registry } from '../registry.ts'
import { type Authority, authoritiesOf, sectionKey } from './authorities.ts'
import { certificateInPem, isValidAt, readClientCertificate } from './certificate.ts'
import { isIssuedBy, isRevokedBy } from './issuers.ts'
import { certificatesOf, fingerprintText } from './proof.ts'

/** A certificate that is registered, in the files or as a record. */
export interface RegisteredCertificate {
  readonly fingerprint: string
  readonly status: CertificateStatus
  /** `file`: it stands in identity/, and is changed there. */
  readonly from: 'file' | 'record'
  /** The principal that it proves. */
  readonly principal: string
  readonly thing?: string
  readonly policies: readonly string[]
  /** The authority that it came by. */
  readonly authority?: string
  /** Milliseconds since 1970. */
  readonly registeredAt?: number
}

/** What `register` may say beside the certificate. */
export interface Registration {
  /** ACTIVE by default, as in the files. */
  readonly status?: SettableStatus
  readonly thing?: string
  readonly policies?: readonly string[]
}

/** States that people may give a certificate (AWS UpdateCertificate takes no PENDING_ACTIVATION). */
export type SettableStatus = 'ACTIVE' | 'INACTIVE' | 'REVOKED'

/**
 * What operators do with certificates. Fingerprints may be written with colons. Everything throws SluiceError WRONG_USE, with what to
 * do, and QUEUE_AWAY where the store can't be written.
 */
export interface Certificates {
  /** Those in the files first. */
  list(): readonly RegisteredCertificate[]
  describe(fingerprint: string): RegisteredCertificate
  /** From REVOKED there is no way back. */
  setStatus(fingerprint: string, status: SettableStatus): Promise<RegisteredCertificate>
  /** Attaches it to a thing in the place of the one it had, and policies beside those it has. */
  attach(
    fingerprint: string,
    what: { readonly thing?: string; readonly policies?: readonly string[] },
  ): Promise<RegisteredCertificate>
  /** Takes policies away, or the thing. */
  detach(
    fingerprint: string,
    what: { readonly thing?: true; readonly policies?: readonly string[] },
  ): Promise<RegisteredCertificate>
  /** Registers a certificate (PEM), or one that is only known by its fingerprint. */
  register(certificateOrFingerprint: string, registration?: Registration): Promise<RegisteredCertificate>
  /** Takes it out, which must be INACTIVE or REVOKED. */
  delete(fingerprint: string): Promise<void>
}

/** How often a change is tried while others change the same certificate. */
const attempts = 5

/** `registry` gives the snapshot in force. */
export function createCertificates(options: {
  readonly records: Records
  readonly registry: () => Registry
  readonly now?: () => number
}): Certificates {
  const { records, registry, now = Date.now } = options

  return {
    list() {
      const files = inFiles()
      const recorded = [...records.certificates()].filter(({ fingerprint }) => !files.has(fingerprint))
      return [...files.values(), ...recorded.map(shown)]
    },

    describe(text) {
      const fingerprint = read(text)
      const file = inFiles().get(fingerprint)
      if (file !== undefined) return file
      return shown(recordOf(fingerprint))
    },

    async setStatus(text, status) {
      if (!['ACTIVE', 'INACTIVE', 'REVOKED'].includes(status))
        throw wrong(`a certificate can be set to ACTIVE, INACTIVE or REVOKED, and to nothing else`)
      return change(text, (record) => {
        if (record.status === 'REVOKED' && status !== 'REVOKED')
          throw wrong('it is REVOKED, which is for good; give the device a new certificate')
        return { ...record, status }
      })
    },

    async attach(text, { thing, policies = [] }) {
      mustExist(thing, policies)
      return change(text, (record) => {
        if (record.status === 'REVOKED') throw wrong('it is REVOKED, which is for good; nothing can be attached to it')
        return {
          ...record,
          ...(thing !== undefined && { thing }),
          policies: [...new Set([...record.policies, ...policies])],
        }
      })
    },

    async detach(text, { thing, policies = [] }) {
      return change(text, ({ thing: old, ...record }) => {
        const missing = policies.find((policy) => !record.policies.includes(policy))
        if (missing !== undefined) throw wrong(`the policy "${missing}" is not attached to it`)
        return {
          ...record,
          ...(thing !== true && old !== undefined && { thing: old }),
          policies: record.policies.filter((policy) => !policies.includes(policy)),
        }
      })
    },

    async register(text, { status = 'ACTIVE', thing, policies = [] } = {}) {
      mustExist(thing, policies)
      const { fingerprint, authority } = text.includes('-----BEGIN') ? readPem(text) : { fingerprint: read(text) }
      mustBeNoFile(fingerprint)
      const record: CertificateRecord = {
        fingerprint,
        status,
        ...(thing !== undefined && { thing }),
        policies: [...new Set(policies)],
        ...(authority !== undefined && { authority }),
        registeredAt: now(),
      }
      const existing = records.certificate(fingerprint)
      if (existing !== undefined || !(await records.putCertificate(record, undefined))) {
        const state = records.certificate(fingerprint)?.status ?? 'changing'
        throw wrong(`it is registered already and ${state}; change its status, or attach what it needs`)
      }
      return shown(record)
    },

    async delete(text) {
      const fingerprint = read(text)
      mustBeNoFile(fingerprint)
      const record = recordOf(fingerprint)
      if (record.status !== 'INACTIVE' && record.status !== 'REVOKED')
        throw wrong(`it is ${record.status}; set it to INACTIVE or REVOKED first`)
      if (record.status === 'REVOKED') mustNotComeBack(record)
      await records.deleteCertificate(fingerprint)
    },
  }

  async function change(
    text: string,
    next: (record: CertificateRecord) => CertificateRecord,
  ): Promise<RegisteredCertificate> {
    const fingerprint = read(text)
    mustBeNoFile(fingerprint)
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      const before = recordOf(fingerprint)
      const record = next(before)
      if (await records.putCertificate(record, before)) return shown(record)
    }
    throw wrong('others keep changing this certificate; look at it again')
  }

  function inFiles(): ReadonlyMap<string, RegisteredCertificate> {
    const found = new Map<string, RegisteredCertificate>()
    for (const { name, thing, policies, proofs } of registry().principals()) {
      if (proofs['x509'] === undefined) continue
      for (const { fingerprint, status } of certificatesOf(proofs['x509']))
        found.set(fingerprint, {
          fingerprint,
          status,
          from: 'file',
          principal: name,
          ...(thing !== undefined && { thing }),
          policies,
        })
    }
    return found
  }

  function recordOf(fingerprint: string): CertificateRecord {
    const record = records.certificate(fingerprint)
    if (record === undefined) throw wrong(`no certificate ${fingerprint} is registered`)
    return record
  }

  /** The files win, so a change of the record would change nothing. */
  function mustBeNoFile(fingerprint: string): void {
    const file = inFiles().get(fingerprint)
    if (file === undefined) return
    const { file: path, line } = registry().principal(file.principal)?.position ?? { file: 'identity/', line: 1 }
    throw wrong(`it stands in the entry of "${file.principal}" (${path}:${line}); change it there`)
  }

  function mustExist(thing: string | undefined, policies: readonly string[]): void {
    if (thing !== undefined && registry().thing(thing) === undefined)
      throw wrong(`there is no thing "${thing}"; write it under things: in identity/`)
    for (const name of policies)
      if (registry().policiesNamed([name])[0]?.document === undefined)
        throw wrong(`there is no policy "${name}" in identity/`)
  }

  /** Without its record a revoked certificate would be unknown, and an authority that registers by itself lets it in again. */
  function mustNotComeBack({ authority }: CertificateRecord): void {
    const open = authorities().find(
      ({ name, status, register }) =>
        status === 'ACTIVE' && register !== 'refuse' && (authority === undefined || name === authority),
    )
    if (open === undefined) return
    throw wrong(
      `it is REVOKED, and the certificate authority "${open.name}" would register it anew (register: ${open.register}); keep it`,
    )
  }

  function readPem(pem: string): { readonly fingerprint: string; readonly authority?: string } {
    const der = certificateInPem(pem)
    const certificate = 'problem' in der ? der : readClientCertificate(der)
    if ('problem' in certificate) throw wrong(`the certificate: ${certificate.problem}`)
    const issuers = authorities().filter((authority) => isIssuedBy(certificate.x509, authority.certificate.x509))
    const revoking = issuers.find((authority) => isRevokedBy(authority, certificate))
    if (revoking !== undefined) throw wrong(`the certificate is on the CRL of "${revoking.name}"`)
    const time = now()
    const late = certificate.notAfter < time && issuers.some(({ expired }) => expired === 'accept')
    if (!isValidAt(certificate, time) && !late)
      throw wrong('the certificate is not valid now; give the device a new one')
    const [issuer] = issuers
    return { fingerprint: certificate.fingerprint, ...(issuer !== undefined && { authority: issuer.name }) }
  }

  function authorities(): readonly Authority[] {
    return authoritiesOf(registry().section(sectionKey))
  }
}

function shown({ fingerprint, ...rest }: CertificateRecord): RegisteredCertificate {
  return { fingerprint, from: 'record', principal: fingerprint, ...rest }
}

function read(text: string): string {
  const parsed = fingerprintText.safeParse(text)
  if (!parsed.success) throw wrong('a fingerprint is the SHA-256 of a certificate: 64 hex digits, colons allowed')
  return parsed.data
}

function wrong(message: string): SluiceError {
  return new SluiceError('WRONG_USE', message)
}
