import { type KeyObject, constants, createPublicKey, verify } from 'node:crypto'

/** AWS IoT TestInvokeAuthorizer: the longest token and signature. */
const maxToken = 6_144
const maxSignature = 2_560
/** AWS: "Its minimum length is 2,048 bits." */
const minBits = 2_048

/** The public key in a PEM text; or a sentence about what is wrong with it, that holds none of it. */
export function readSigningKey(pem: string): KeyObject | string {
  if (pem.includes('PRIVATE KEY-----'))
    return 'holds a private key; only its public key belongs here (openssl rsa -pubout)'
  let key: KeyObject
  try {
    key = createPublicKey(pem)
  } catch {
    return 'does not hold a public key as PEM'
  }
  if (key.asymmetricKeyType !== 'rsa') return 'is not an RSA key; tokens are signed with RSA'
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0
  return bits < minBits ? `has ${bits} bits; a key needs at least ${minBits}` : key
}

/** Whether a token is short enough to be looked at. */
export function isShortEnough(token: string): boolean {
  return token.length <= maxToken
}

/** Whether `signature` is the base64 of an RSA signature (PKCS #1 v1.5, SHA-256) of the token's UTF-8 bytes by any of the keys. */
export function isSigned(token: string, signature: string, keys: readonly KeyObject[]): boolean {
  if (signature.length > maxSignature || !/^[A-Za-z0-9+/]+={0,2}$/.test(signature)) return false
  const bytes = Buffer.from(token, 'utf8')
  const shown = Buffer.from(signature, 'base64')
  return keys.some((key) => verify('sha256', bytes, { key, padding: constants.RSA_PKCS1_PADDING }, shown))
}
