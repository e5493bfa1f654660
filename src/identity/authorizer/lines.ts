import type { Readable } from 'node:stream'

/** Calls `use` with every line of a stream, without its end. Of a line with more than `most` bytes nothing is kept: `tooLong` instead. */
export function eachLine(stream: Readable, most: number, use: (line: string) => void, tooLong: () => void): void {
  let parts: Buffer[] = []
  let length = 0
  let skipping = false

  stream.on('data', (chunk: Buffer) => {
    let from = 0
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      add(chunk.subarray(from, end))
      finish()
      from = end + 1
    }
    add(chunk.subarray(from))
  })
  stream.on('end', () => {
    if (length > 0) finish()
  })

  function add(part: Buffer): void {
    if (skipping || part.length === 0) return
    length += part.length
    if (length <= most) {
      parts.push(part)
      return
    }
    skipping = true
    parts = []
    tooLong()
  }

  function finish(): void {
    const line = parts
    const skipped = skipping
    parts = []
    length = 0
    skipping = false
    if (!skipped) use(Buffer.concat(line).toString('utf8').replace(/\r$/, ''))
  }
}
