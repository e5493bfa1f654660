import type { CertificateAct, CertificateRequest, ControlPlane } from '../admin/control.ts'
import { SluiceError } from '../core/errors.ts'
import { createCertificates, type SettableStatus } from '../identity/x509/certificates.ts'
import type { Records } from '../identity/records.ts'
import type { Registry } from '../identity/registry.ts'

/** The certificates as the control channel serves them. */
export function createCertificatePlane(options: {
  readonly records: Records
  readonly registry: () => Registry
}): ControlPlane['certificates'] {
  const certificates = createCertificates(options)
  return {
    list: async () => certificates.list(),
    show: async (fingerprint) => certificates.describe(fingerprint),
    act: (act, what) => acted(act, what),
  }

  async function acted(act: CertificateAct, what: CertificateRequest): Promise<unknown> {
    const { thing, policies } = what
    const attachment = { ...(thing !== undefined && { thing }), ...(policies !== undefined && { policies }) }
    switch (act) {
      case 'register': {
        const status = what.status === undefined ? {} : { status: statusOf(what.status) }
        return certificates.register(what.pem ?? needed(what.fingerprint, 'fingerprint'), { ...attachment, ...status })
      }
      case 'set-status':
        return certificates.setStatus(needed(what.fingerprint, 'fingerprint'), statusOf(needed(what.status, 'status')))
      case 'attach':
        return certificates.attach(needed(what.fingerprint, 'fingerprint'), attachment)
      case 'detach':
        return certificates.detach(needed(what.fingerprint, 'fingerprint'), {
          ...(thing !== undefined && { thing: true }),
          ...(policies !== undefined && { policies }),
        })
      case 'delete':
        await certificates.delete(needed(what.fingerprint, 'fingerprint'))
        return { fingerprint: what.fingerprint, deleted: true }
    }
  }
}

function needed(text: string | undefined, what: string): string {
  if (text === undefined) throw new SluiceError('WRONG_USE', `${what} is missing`)
  return text
}

/** Whether it is one that can be set, `setStatus` says. */
function statusOf(text: string): SettableStatus {
  return text.toUpperCase() as SettableStatus
}
