import { X509Certificate } from 'node:crypto'
import { SluiceError } from '../core/errors.ts'
import { readIfThere } from './files.ts'
import type { PkiPaths } from './paths.ts'

/** The CA's certificate, or undefined where there is none. Throws SluiceError WRONG_USE for what is no certificate of a CA. */
export async function readAuthorityCertificate({ ca }: PkiPaths): Promise<X509Certificate | undefined> {
  const pem = await readIfThere(ca.certificate)
  if (pem === undefined) return undefined
  const certificate = readCertificate(pem)
  if (certificate === undefined)
    throw new SluiceError('WRONG_USE', `${ca.certificate} is no certificate; put a backup of it in its place`)
  if (!certificate.ca) throw new SluiceError('WRONG_USE', `${ca.certificate} is not the certificate of a CA`)
  return certificate
}

/** The first certificate of a PEM text, or undefined. */
export function readCertificate(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem)
  } catch {
    return undefined
  }
}
