/** The fields of an INFO, by name. */
export type Info = ReadonlyMap<string, string>

/** Reads the text of INFO: lines `name:value`, headings and empty ones between. */
export function infoOf(text: string): Info {
  const lines = text.split(/\r?\n/).filter((line) => line.includes(':'))
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]))
}
