import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, type X509Certificate } from 'node:crypto'
import { promisify } from 'node:util'
import { SluiceError } from '../core/errors.ts'
import { readIfThere } from './files.ts'

/** P-256, or RSA of 2048 bits as AWS IoT makes them. */
export type KeyKind = 'ec' | 'rsa'

const generate = promisify(generateKeyPair)

/** The curves that AWS IoT takes (CreateCertificateFromCsr), and the hash that suits each. */
export const curves: Readonly<Record<string, { readonly name: string; readonly hash: string }>> = {
  prime256v1: { name: 'P-256', hash: 'SHA-256' },
  secp384r1: { name: 'P-384', hash: 'SHA-384' },
  secp521r1: { name: 'P-521', hash: 'SHA-512' },
}

export async function newKey(kind: KeyKind): Promise<KeyObject> {
  const { privateKey } =
    kind === 'rsa' ? await generate('rsa', { modulusLength: 2048 }) : await generate('ec', { namedCurve: 'prime256v1' })
  return privateKey
}

/** PKCS #8, which every library of the last decade reads. */
export function keyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' })
}

/** The key in a file, or undefined where there is no file. Throws SluiceError WRONG_USE, and never quotes the file. */
export async function readKey(path: string): Promise<KeyObject | undefined> {
  const pem = await readIfThere(path)
  if (pem === undefined) return undefined
  try {
    return createPrivateKey(pem)
  } catch (error) {
    throw new SluiceError('WRONG_USE', `${path} holds no private key that can be read without a passphrase`, {
      cause: error,
    })
  }
}

export function kindOf(key: KeyObject): KeyKind | undefined {
  if (key.asymmetricKeyType === 'rsa') return 'rsa'
  return key.asymmetricKeyType === 'ec' ? 'ec' : undefined
}

/** DER of the public half, in its one encoding. */
export function publicKeyDer(key: KeyObject): Buffer {
  const half = key.type === 'private' ? createPublicKey(key) : key
  return half.export({ type: 'spki', format: 'der' })
}

export function belongTogether(certificate: X509Certificate, key: KeyObject): boolean {
  return publicKeyDer(certificate.publicKey).equals(publicKeyDer(key))
}

/** What is wrong with a public key that somebody else made, or undefined: RSA of 2048 to 8192 bits, or one of the curves. */
export function complainAboutKey(key: KeyObject): string | undefined {
  const { modulusLength = 0, publicExponent = 0n, namedCurve = '' } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'ec')
    return Object.hasOwn(curves, namedCurve) ? undefined : `its curve is ${namedCurve}; use P-256, P-384 or P-521`
  if (key.asymmetricKeyType !== 'rsa')
    return `its key is of the kind ${key.asymmetricKeyType ?? 'unknown'}; use RSA or P-256, P-384, P-521`
  if (modulusLength < 2048) return `its RSA key has ${modulusLength} bits; use 2048 or more`
  if (modulusLength > 8192) return `its RSA key has ${modulusLength} bits; use at most 8192`
  // With the exponent 1 anybody could sign.
  return publicExponent >= 3n && publicExponent % 2n === 1n ? undefined : 'its RSA key has no usable public exponent'
}
