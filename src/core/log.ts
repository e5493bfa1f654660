/** Facts about an event: short names, JSON values, never a secret. */
export type Facts = Readonly<Record<string, unknown>>

/** The log that every part gets handed; observe/ makes it from pino. One line an event. */
export interface Log {
  debug(facts: Facts, message: string): void
  info(facts: Facts, message: string): void
  warn(facts: Facts, message: string): void
  error(facts: Facts, message: string): void
  /** The same log with facts that stand on every line. */
  with(facts: Facts): Log
}

/** A log that says nothing: for commands that print their own output, and for tests. */
export const silent: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  with: () => silent,
}
