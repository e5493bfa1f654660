import { messageOf } from '../core/errors.ts'

/** Characters of a foreign error text that are kept: the sentence, not the canonical request that AWS likes to append. */
const longest = 300

/** What an error says, in one bounded line; for sentences of our own. */
export function saidBy(error: unknown): string {
  const [line = ''] = messageOf(error).trim().split('\n', 1)
  const text = line.length > longest ? `${line.slice(0, longest)}…` : line
  const name = error instanceof Error ? error.name : 'Error'
  return name === 'Error' ? text : `${name}: ${text}`
}
