/** This process' environment, for the supervisor alone: it hands each part on to the one process that may have it. */
export function environment(): Readonly<Record<string, string | undefined>> {
  return process.env
}
