import { scrypt } from 'node:crypto'
import type { ScryptHash } from './phc.ts'

/** scrypt (RFC 7914) on a thread of libuv's; `length` is in bytes. */
export function derive(
  password: Buffer,
  { ln, r, p, salt }: Omit<ScryptHash, 'hash'>,
  length: number,
): Promise<Buffer> {
  // As OpenSSL counts: the blocks, two more, and one for each of p.
  const maxmem = 128 * r * (2 ** ln + 2 + p)
  return new Promise((resolve, reject) => {
    scrypt(password, salt, length, { N: 2 ** ln, r, p, maxmem }, (error, derived) => {
      if (error === null) resolve(derived)
      else reject(error)
    })
  })
}
