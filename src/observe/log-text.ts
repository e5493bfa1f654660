const colourOf: Readonly<Record<string, string>> = { debug: '90', info: '36', warn: '33', error: '31' }

/** Turns one JSON log line into one for people: time, level, message, then the facts as `name=value`. */
export function textLine(json: string, colours: boolean): string {
  const { time, level, msg, ...facts } = JSON.parse(json) as { time: string; level: string; msg?: string } & Record<
    string,
    unknown
  >
  const paint = (text: string, code: string) => (colours ? `\u001B[${code}m${text}\u001B[0m` : text)
  const head = `${time.slice(11, 23)} ${paint(level.padEnd(5), colourOf[level] ?? '0')} ${msg ?? ''}`
  const tail = Object.entries(facts).map(([name, value]) => `${paint(`${name}=`, '90')}${shown(value)}`)
  return `${[head, ...tail].join(' ')}\n`
}

/** Control characters are escaped: a log line must not be able to drive somebody's terminal. */
function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return /^[\w./:@+-]+$/.test(text) ? text : typeof value === 'string' ? JSON.stringify(value) : text
}
