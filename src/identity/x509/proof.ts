import { z } from 'zod'
import { fileText } from '../../core/file-text.ts'
import type { IdentityPart, PartComplaint } from '../../core/identity-part.ts'
import { certificateInPem, fingerprintOf, readClientCertificate } from './certificate.ts'

/** What files may say of a certificate; PENDING_ACTIVATION is a state that only registration by itself gives. */
const status = z.enum(['ACTIVE', 'INACTIVE', 'REVOKED']).default('ACTIVE')

/** As `openssl x509 -fingerprint -sha256` prints it, or without the colons. */
export const fingerprintText = z
  .string('must be text: 64 hex digits in quotes')
  .regex(
    /^[0-9a-fA-F]{2}(?::?[0-9a-fA-F]{2}){31}$/,
    'must be the SHA-256 fingerprint of the certificate: 64 hex digits, colons allowed',
  )
  .transform((text) => text.replaceAll(':', '').toLowerCase())

const one = z.union([
  z.strictObject({ fingerprint: fingerprintText, status }),
  z.strictObject({ certificate: fileText(), status }),
])

/** More than anybody has at once: one in use, one to come. */
const certificatesPerPrincipal = 20

const proofSchema = z.union([one, z.array(one).min(1).max(certificatesPerPrincipal)])

type Proof = z.output<typeof proofSchema>
type Status = z.output<typeof status>

/** A certificate that stands in a principal's entry. */
export interface ProofCertificate {
  readonly fingerprint: string
  readonly status: Status
}

/** The certificates of a proof. Throws where one can't be read, which `examine` has said before. */
export function certificatesOf(proof: unknown): readonly ProofCertificate[] {
  return entriesOf(proof as Proof).map(({ entry }) => {
    if ('fingerprint' in entry) return entry
    const der = certificateInPem(entry.certificate)
    if ('problem' in der) throw new Error(`a certificate in identity/: ${der.problem}`)
    return { fingerprint: fingerprintOf(der), status: entry.status }
  })
}

/** The certificates with which a principal proves itself. */
export const proof: IdentityPart<typeof proofSchema> = {
  schema: proofSchema,
  examine: (value: Proof) => entriesOf(value).flatMap(complaintAbout),
  unique: (value: Proof) =>
    entriesOf(value).flatMap(({ entry, path }) => {
      if ('fingerprint' in entry) return [{ text: entry.fingerprint, path: join(path, 'fingerprint') }]
      const der = certificateInPem(entry.certificate)
      return 'problem' in der ? [] : [{ text: fingerprintOf(der), path: join(path, 'certificate') }]
    }),
}

function complaintAbout({ entry, path }: ReturnType<typeof entriesOf>[number]): readonly PartComplaint[] {
  if ('fingerprint' in entry) return []
  const der = certificateInPem(entry.certificate)
  const read = 'problem' in der ? der : readClientCertificate(der)
  return 'problem' in read ? [{ path: join(path, 'certificate'), message: read.problem }] : []
}

function entriesOf(value: Proof) {
  return Array.isArray(value)
    ? value.map((entry, index) => ({ entry, path: String(index) }))
    : [{ entry: value, path: '' }]
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`
}
