const isoPattern = /^(?<date>\d{4}-\d{2}-\d{2})(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2}))?$/

/**
 * Milliseconds since 1970 of a date as policies write it: ISO 8601 (`2026-01-31`, `2026-01-31T12:00:00Z`) or seconds since
 * 1970. A time without a zone is refused: it would mean another moment on every machine. So are four digits: `2026` is a year to
 * its author, and 34 minutes after 1970 began to everybody else.
 */
export function parseInstant(text: string): number | undefined {
  if (/^\d{4}$/.test(text)) return undefined
  if (/^\d{1,12}(?:\.\d{1,9})?$/.test(text)) return Number(text) * 1000
  const date = isoPattern.exec(text)?.groups?.['date']
  // Date.parse takes February 30 for March 1 or 2.
  if (date === undefined || !isDay(date)) return undefined
  const ms = Date.parse(text)
  return Number.isNaN(ms) ? undefined : ms
}

function isDay(date: string): boolean {
  const ms = Date.parse(`${date}T00:00:00Z`)
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(date)
}
