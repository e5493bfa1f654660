/**
 * Knows the secret values of this process and takes them out of text. Everything that leaves the process as an error
 * or a log line goes through it, because libraries like to quote what they were given.
 */
export class Redactor {
  readonly #secrets = new Set<string>()

  /** Adds a resolved secret. Values under 6 characters are left out: replacing them would shred ordinary text. */
  add(secret: string): void {
    if (secret.length >= 6) this.#secrets.add(secret)
  }

  scrub(text: string): string {
    let clean = text
    for (const secret of this.#secrets) if (clean.includes(secret)) clean = clean.replaceAll(secret, '[redacted]')
    return clean
  }
}
