import { z } from 'zod'
import type { SectionEntry } from '../../core/directory.ts'
import { fileText } from '../../core/file-text.ts'
import type { IdentitySection, Mention, PartComplaint } from '../../core/identity-part.ts'
import {
  type AuthorityCertificate,
  certificateInPem,
  fingerprintOf,
  readAuthorityCertificate,
  type Unfit,
} from './certificate.ts'
import { readRevocationList, type RevocationList } from './crl.ts'
import { readTemplate, type Template } from './template.ts'

const settings = z
  .strictObject({
    name: z.string().regex(/^[a-zA-Z0-9:_.-]{1,128}$/, 'must have 1 to 128 letters, digits, ":", "_", "." or "-"'),
    certificate: fileText(),
    /** INACTIVE registers nobody any more; certificates that are registered stay as they are (AWS). */
    status: z.enum(['ACTIVE', 'INACTIVE']).default('ACTIVE'),
    crl: fileText(/-----BEGIN X509 CRL/).exactOptional(),
    /** What becomes of an unknown certificate: refused, PENDING_ACTIVATION (JITR), or provisioned from the template (JITP). */
    register: z.enum(['refuse', 'pending', 'provision']).default('refuse'),
    template: z.union([fileText(/^\s*\{/), z.record(z.string(), z.unknown())]).exactOptional(),
    /** Whether the template may attach to a thing that this authority has not made. */
    existingThings: z.enum(['refuse', 'attach']).default('refuse'),
    expired: z.enum(['refuse', 'accept']).default('refuse'),
    /** Certificates that wait for activation at a time: whoever holds the authority's key could make any number. */
    maxPending: z.int().min(1).max(1_000_000).default(10_000),
  })
  .superRefine(({ register, template }, context) => {
    if (register === 'provision' && template === undefined)
      context.addIssue({ code: 'custom', path: ['template'], message: 'must be there for "register: provision"' })
    if (register !== 'provision' && template !== undefined)
      context.addIssue({ code: 'custom', path: ['template'], message: 'has no use without "register: provision"' })
  })

type Settings = z.output<typeof settings>

/** The key of the section. */
export const sectionKey = 'certificateAuthorities'

/** The authorities whose certificates are known (AWS: registered CAs). */
export const section: IdentitySection = {
  key: sectionKey,
  noun: 'certificate authority',
  schema: settings,
  examine: (value: Settings) => {
    const authority = readPem(value.certificate)
    if ('problem' in authority) return [{ path: 'certificate', message: authority.problem }]
    const list = value.crl === undefined ? undefined : readRevocationList(value.crl, authority)
    const found: PartComplaint[] = []
    if (list !== undefined && 'problem' in list) found.push({ path: 'crl', message: list.problem })
    if (value.template !== undefined) found.push(...readTemplate(value.template).complaints)
    return found
  },
  mentions: (value: Settings): readonly Mention[] =>
    value.template === undefined ? [] : readTemplate(value.template).mentions,
  unique: (value: Settings) => {
    const der = certificateInPem(value.certificate)
    return 'problem' in der ? [] : [{ text: fingerprintOf(der), path: 'certificate' }]
  },
}

/** A registered authority. */
export interface Authority extends Omit<Settings, 'certificate' | 'crl' | 'template'> {
  /** SHA-256 of its certificate (AWS: caCertificateId). */
  readonly id: string
  readonly certificate: AuthorityCertificate
  readonly crl: RevocationList | undefined
  readonly template: Template | undefined
}

/**
 * The authorities of a section. Throws where one can't be read, which `examine` has said before: without an authority its CRL would not be
 * asked either.
 */
export function authoritiesOf(entries: ReadonlyMap<string, SectionEntry>): readonly Authority[] {
  return [...entries.values()].map(({ name, value }) => {
    const { certificate: pem, crl: list, template: body, ...rest } = value as Settings
    const certificate = fit(name, 'certificate', readPem(pem))
    const template = body === undefined ? undefined : readTemplate(body)
    const [complaint] = template?.complaints ?? []
    if (complaint !== undefined)
      throw new Error(`certificate authority "${name}": ${complaint.path}: ${complaint.message}`)
    return {
      ...rest,
      id: certificate.fingerprint,
      certificate,
      crl: list === undefined ? undefined : fit(name, 'crl', readRevocationList(list, certificate)),
      template: template?.template,
    }
  })
}

function fit<Value extends object>(name: string, key: string, value: Value | Unfit): Value {
  if ('problem' in value) throw new Error(`certificate authority "${name}": ${key}: ${value.problem}`)
  return value
}

function readPem(pem: string): AuthorityCertificate | Unfit {
  const der = certificateInPem(pem)
  return 'problem' in der ? der : readAuthorityCertificate(der)
}
