import { messageOf } from '../core/errors.ts'

/** Characters of foreign text in a reason: enough for a sentence, too little for a page. */
const longest = 200

/**
 * Foreign text for a log line or a reason: one line, no control characters (a terminal obeys them, C1 too), no direction
 * marks that turn a line around, bounded.
 */
export function plainText(text: string, most = longest): string {
  const line = visible(text.slice(0, 4 * most))
    .replace(/\s+/g, ' ')
    .trim()
  return line.length > most || text.length > 4 * most ? `${cut(line, most)}…` : line
}

/** The text with everything that a terminal or a reader could be misled by turned into spaces; not bounded. */
export function visible(text: string): string {
  return text.toWellFormed().replace(/[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, ' ')
}

/** What an error says, as foreign text. */
export function saidBy(error: unknown): string {
  return plainText(messageOf(error), 300)
}

function cut(text: string, most: number): string {
  return text.slice(0, most).toWellFormed()
}
