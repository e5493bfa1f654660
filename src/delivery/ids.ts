import { createHash } from 'node:crypto'
import { deduplicationKey, type Failure } from '../core/envelope.ts'
import { newId } from '../core/id.ts'

// No vowels, so no words; no look-alikes (Crockford's base32).
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

/**
 * A job id out of what identifies the job: a letter and 16 characters (80 bits of a SHA-256). The letter keeps it from
 * being all digits, which BullMQ takes for an id of its own making.
 */
export function idOf(letter: string, parts: readonly (string | number)[]): string {
  const hash = createHash('sha256').update(JSON.stringify(parts)).digest()
  let bits = BigInt(`0x${hash.subarray(0, 10).toString('hex')}`)
  let text = ''
  for (let count = 0; count < 16; count += 1) {
    text = `${alphabet[Number(bits & 31n)]}${text}`
    bits >>= 5n
  }
  return letter + text
}

/**
 * The id of a failure's dead letter: the same however often a failure is taken from its queue, another after a replay. Two
 * messages never share a letter, though their publisher calls both the same: Sluice's own id is in it. Earlier versions had the
 * publisher's in that place, so that theirs are told apart by time, topic and content.
 */
export function deadLetterId({ entry }: Failure): string {
  const { id, publisherId, at, since = 0, topic, in: original = '', out = '' } = entry
  const own = publisherId === undefined ? [] : [id]
  return idOf('d', [deduplicationKey(entry), at, since, topic, JSON.stringify([original, out]), ...own])
}

/** An id for the dead letter of a rule that failed; each failing is a letter of its own. */
export function newDeadLetterId(): string {
  return idOf('d', [newId()])
}
