/**
 * This process' environment. For the supervisor, which hands each part on to the one process that may have it, and for its
 * children, which find in it that they are supervised.
 */
export function environment(): Readonly<Record<string, string | undefined>> {
  return process.env
}
