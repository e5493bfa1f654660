import type { Redactor } from '../core/redactor.ts'

/**
 * A JSON log line without secrets. They are taken out of its values and not out of its text: a password of digits must not break a
 * number in two, and one that is called "worker" must not rename a fact.
 */
export function withoutSecrets(line: string, redactor: Redactor): string {
  // Nearly every line.
  if (redactor.scrub(line) === line) return line
  const facts = JSON.parse(line) as Readonly<Record<string, unknown>>
  const clean = Object.entries(facts).map(([name, value]) => [name, cleaned(value, redactor)])
  return `${JSON.stringify(Object.fromEntries(clean))}\n`
}

function cleaned(value: unknown, redactor: Redactor): unknown {
  if (Array.isArray(value)) return value.map((item) => cleaned(item, redactor))
  if (typeof value === 'object' && value !== null) {
    // Below the facts, which are named here, names may be anybody's.
    const entries = Object.entries(value).map(([name, inner]) => [redactor.scrub(name), cleaned(inner, redactor)])
    return Object.fromEntries(entries)
  }
  const text = redactor.scrub(String(value))
  return text === String(value) ? value : text
}
