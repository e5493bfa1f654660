import { webcrypto, type X509Certificate } from 'node:crypto'
import { SluiceError } from '../core/errors.ts'
import { readAuthorityCertificate } from './authority-certificate.ts'
import { othersMayRead } from './files.ts'
import { belongTogether, curves, kindOf, readKey } from './key.ts'
import type { PkiPaths } from './paths.ts'
import {
  AuthorityKeyIdentifierExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate as Decoded,
} from './x509.ts'

/** A CA that can sign. */
export interface Authority {
  readonly certificate: X509Certificate
  /** The same certificate as the library reads it. */
  readonly decoded: Decoded
  /** The authority key identifier of what it signs. */
  readonly identifier: AuthorityKeyIdentifierExtension
  readonly signingKey: webcrypto.CryptoKey
  readonly signingAlgorithm: { readonly name: string; readonly hash: string }
}

/**
 * The CA with its key; also one that somebody else made (EC or RSA). Throws SluiceError WRONG_USE where it cannot or must not sign, with
 * what to do.
 */
export async function openAuthority(paths: PkiPaths): Promise<Authority> {
  const { ca } = paths
  const certificate = await readAuthorityCertificate(paths)
  if (certificate === undefined) throw new SluiceError('WRONG_USE', `there is no ${ca.certificate}`)
  const key = await readKey(ca.key)
  if (key === undefined)
    throw new SluiceError('WRONG_USE', `there is no ${ca.key}; put it back for as long as something is to be signed`)
  if (await othersMayRead(ca.key))
    throw new SluiceError('WRONG_USE', `${ca.key} may be read by others; run "chmod 600 ${ca.key}"`)
  if (!belongTogether(certificate, key))
    throw new SluiceError('WRONG_USE', `${ca.key} is not the key of ${ca.certificate}; put a backup of both in place`)
  const now = Date.now()
  if (certificate.validToDate.getTime() <= now || certificate.validFromDate.getTime() > now)
    throw new SluiceError(
      'WRONG_USE',
      `${ca.certificate} is valid from ${certificate.validFromDate.toISOString()} to ${certificate.validToDate.toISOString()}, and not now; see docs/pki.md for a new one`,
    )

  const decoded = new Decoded(certificate.raw)
  const usages = decoded.getExtension(KeyUsagesExtension)?.usages
  const needed = KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign
  if (usages !== undefined && (usages & needed) !== needed)
    throw new SluiceError('WRONG_USE', `${ca.certificate} has a keyUsage that is not for signing certificates and CRLs`)

  const kind = kindOf(key)
  const curve = curves[key.asymmetricKeyDetails?.namedCurve ?? '']
  if (kind === undefined || (kind === 'ec' && curve === undefined))
    throw new SluiceError('WRONG_USE', `${ca.key} is neither RSA nor of P-256, P-384 or P-521`)
  const hash = curve?.hash ?? 'SHA-256'
  const name = kind === 'ec' ? 'ECDSA' : 'RSASSA-PKCS1-v1_5'
  const der = key.export({ type: 'pkcs8', format: 'der' })
  const parameters = kind === 'ec' ? { name, namedCurve: curve?.name ?? '' } : { name, hash }
  const signingKey = await webcrypto.subtle.importKey('pkcs8', der, parameters, false, ['sign'])

  const own = decoded.getExtension(SubjectKeyIdentifierExtension)?.keyId
  const identifier =
    own === undefined
      ? await AuthorityKeyIdentifierExtension.create(decoded.publicKey)
      : new AuthorityKeyIdentifierExtension(own)
  return { certificate, decoded, identifier, signingKey, signingAlgorithm: { name, hash } }
}
