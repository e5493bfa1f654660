import type { AuthMethodContext } from '../method.ts'
import type { CertificateRecord } from '../records.ts'
import type { Authority } from './authorities.ts'
import type { ClientCertificate } from './certificate.ts'

/** Why a certificate is not registered; a sentence for the log. */
export class RegistrationRefused extends Error {}

/**
 * Just-in-time registration (AWS, "just-in-time registration"): keeps an unknown certificate as PENDING_ACTIVATION. Of several ingests one
 * writes it; gives the record as it is now, whoever wrote it. Throws RegistrationRefused over the authority's bound; rejects when
 * the store is away.
 */
export async function registerPending(
  { fingerprint }: ClientCertificate,
  { name, maxPending }: Authority,
  { records, now }: AuthMethodContext,
): Promise<CertificateRecord | undefined> {
  let pending = 0
  for (const { status, authority } of records.certificates())
    if (status === 'PENDING_ACTIVATION' && authority === name) pending += 1
  if (pending >= maxPending)
    throw new RegistrationRefused(
      `${pending} certificates of it wait for activation already (maxPending); activate them or set them INACTIVE`,
    )
  const record: CertificateRecord = {
    fingerprint,
    status: 'PENDING_ACTIVATION',
    policies: [],
    authority: name,
    registeredAt: now(),
  }
  return (await records.putCertificate(record, undefined)) ? record : records.certificate(fingerprint)
}

/** Says that a certificate waits for activation (aws-security §3); the payload is AWS's, the second time is text there too. */
export function announcePending(
  { fingerprint, registeredAt }: CertificateRecord,
  { id }: Authority,
  { announce, place, now }: AuthMethodContext,
): void {
  announce(`$aws/events/certificates/registered/${id}`, {
    certificateId: fingerprint,
    caCertificateId: id,
    timestamp: now(),
    certificateStatus: 'PENDING_ACTIVATION',
    awsAccountId: place.account,
    certificateRegistrationTimestamp: String(registeredAt),
  })
}
