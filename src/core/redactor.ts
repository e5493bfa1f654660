import { parseRedisUrl } from './redis-url.ts'

/** Values under this many characters are left out: replacing them would shred ordinary text. */
const leastLength = 6

/**
 * Knows the secret values of this process and takes them out of text. Everything that leaves the process as an error
 * or a log line goes through it, because libraries like to quote what they were given.
 */
export class Redactor {
  readonly #secrets = new Set<string>()
  /** What is looked for; made when the first text comes, because most redactors of a request never see one. */
  #forms: readonly string[] | undefined

  /** Adds a resolved secret. */
  add(secret: string): void {
    if (this.#secrets.has(secret)) return
    this.#secrets.add(secret)
    this.#forms = undefined
  }

  scrub(text: string): string {
    // Longest first: of two secrets, one may begin with the other.
    this.#forms ??= [...new Set([...this.#secrets].flatMap(formsOf))].toSorted(
      (one, other) => other.length - one.length,
    )
    let clean = text
    for (const form of this.#forms) if (clean.includes(form)) clean = clean.replaceAll(form, '[redacted]')
    return clean
  }
}

/**
 * A secret as others quote it: as it is, escaped as in JSON (a key has several lines), encoded as in a URL, and what it stands for where it
 * is encoded itself. Of an address with a password the password is a secret too: a client is handed it alone.
 */
function formsOf(secret: string): readonly string[] {
  return [secret, ...passwordsIn(secret)]
    .flatMap((form) => [form, decoded(form)])
    .flatMap((form) => [form, JSON.stringify(form).slice(1, -1), encodeURIComponent(form.toWellFormed())])
    .filter((form) => form.length >= leastLength)
}

/** As each of those reads it who might be handed the address: those of several sentinels are no URL to others. */
function passwordsIn(secret: string): readonly string[] {
  const redis = parseRedisUrl(secret)
  return ['password' in redis ? (redis.password ?? '') : '', URL.parse(secret)?.password ?? '']
}

/** As a URL has it; the text itself where it holds a `%` that means nothing. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
