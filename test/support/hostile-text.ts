import * as fc from 'fast-check'

/** Stands in every made-up credential: no log may have it. */
export const canary = 'cAnArY-7f3a'

/** A place, what to put there, and how. Without fast-check's liking for the smallest numbers, which are always the same few places. */
function anywhere(what: fc.Arbitrary<number>): fc.Arbitrary<[number, number, number]> {
  return fc.noBias(fc.tuple(fc.nat(), what, fc.nat(2)))
}

/** A text with one to three characters changed, left out or put in; printable ASCII, without blanks at its ends. */
export function mutatedText(text: string): fc.Arbitrary<string> {
  const change = anywhere(fc.integer({ min: 0x21, max: 0x7e }))
  return fc
    .array(change, { minLength: 1, maxLength: 3 })
    .map((changes) => {
      const characters = Array.from(text)
      for (const [at, code, how] of changes) {
        const character = how === 2 ? [] : [String.fromCharCode(code)]
        characters.splice(at % (characters.length + 1), how === 0 ? 0 : 1, ...character)
      }
      return characters.join('')
    })
    .filter((changed) => changed !== text)
}

/** Bytes of which some were changed, left out or put in. */
export function mutatedBytes(bytes: Buffer, most = 4): fc.Arbitrary<Buffer> {
  const change = anywhere(fc.nat(255))
  return fc.array(change, { minLength: 1, maxLength: most }).map((changes) => {
    const all = Array.from(bytes)
    for (const [at, value, how] of changes)
      all.splice(at % (all.length + 1), how === 0 ? 0 : 1, ...(how === 2 ? [] : [value]))
    return Buffer.from(all)
  })
}

/** Cuts bytes at up to four places. */
export function cutAnywhere(bytes: Buffer): fc.Arbitrary<readonly Buffer[]> {
  return fc.array(fc.nat(bytes.length), { maxLength: 4 }).map((places) => {
    const ends = [...places.toSorted((a, b) => a - b), bytes.length]
    return ends.map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end))
  })
}

/** Whether two JWTs are the same to a reader that takes base64url as loosely as Node does. */
export function sameToken(one: string, other: string): boolean {
  const read = (token: string) => token.split('.').map((part) => Buffer.from(part, 'base64url').toString('hex'))
  return read(one).join('.') === read(other).join('.')
}
