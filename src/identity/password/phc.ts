/** An scrypt hash with its parameters (RFC 7914): N = 2^ln. */
export interface ScryptHash {
  readonly ln: number
  readonly r: number
  readonly p: number
  readonly salt: Buffer
  readonly hash: Buffer
}

/** What one check may cost: 128 · N · r bytes of memory, N · r · p blocks of work. OWASP's settings, 2^17·8·1 to 2^13·8·10, are within. */
const maxMemory = 128 * 1024 * 1024
const maxWork = 2 ** 20
/** Less than OWASP's smallest memory is no protection for a password. */
const minMemory = 128 * 2 ** 13 * 8

/** What new hashes are made with: 32 MiB and some 60 ms. Two checks at a time are some thirty new connections a second. */
export const newHashes = { ln: 15, r: 8, p: 1, saltBytes: 16, hashBytes: 32 } as const

/** Memory in bytes that a check of this hash takes. */
function memoryOf({ ln, r }: Pick<ScryptHash, 'ln' | 'r'>): number {
  return 128 * 2 ** ln * r
}

/**
 * Reads `$scrypt$ln=15,r=8,p=1$<salt>$<hash>`: the PHC string format with base64 that has no padding, as passlib and others write
 * it. Gives the text of what is wrong instead, without quoting anything of it.
 */
export function parseScrypt(text: string): ScryptHash | string {
  const match =
    /^\$scrypt\$ln=(?<ln>[1-9]\d?),r=(?<r>[1-9]\d{0,2}),p=(?<p>[1-9]\d{0,2})\$(?<salt>[A-Za-z0-9+/]{1,128})\$(?<hash>[A-Za-z0-9+/]{1,128})$/.exec(
      text,
    )?.groups
  if (match === undefined)
    return 'must have the form $scrypt$ln=15,r=8,p=1$<salt>$<hash>; make one with `sluice identity password NAME`'
  const [ln, r, p] = [Number(match['ln']), Number(match['r']), Number(match['p'])]
  const [salt, hash] = [bytesOf(match['salt'] ?? ''), bytesOf(match['hash'] ?? '')]
  if (salt === undefined || hash === undefined) return 'holds a salt or a hash that is not base64 without padding'
  if (salt.length < 8 || salt.length > 64) return 'must have a salt of 8 to 64 bytes'
  if (hash.length < 16 || hash.length > 64) return 'must have a hash of 16 to 64 bytes'
  const memory = memoryOf({ ln, r })
  if (memory > maxMemory) return 'must take at most 128 MiB for a check, which is 128 · 2^ln · r bytes'
  if (memory < minMemory) return 'must take at least 8 MiB for a check, which is 128 · 2^ln · r bytes'
  if (2 ** ln * r * p > maxWork) return 'must take at most 2^20 blocks of work for a check, which is 2^ln · r · p'
  return { ln, r, p, salt, hash }
}

/** The text of a hash; `parseScrypt` reads it. */
export function formatScrypt({ ln, r, p, salt, hash }: ScryptHash): string {
  return `$scrypt$ln=${ln},r=${r},p=${p}$${textOf(salt)}$${textOf(hash)}`
}

function textOf(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}

/** Undefined where two texts could mean the same bytes. */
function bytesOf(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return textOf(bytes) === text ? bytes : undefined
}
