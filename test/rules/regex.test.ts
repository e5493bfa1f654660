import { deepEqual, equal, throws } from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { defaultExpressionLimits } from '../../src/rules/limits.ts'
import { compileRegex, createRegexEngine } from '../../src/rules/regex.ts'

const Regex = createRegexEngine(defaultExpressionLimits)

/** Every match with its groups and place, as jsonata would find them. */
function all(
  pattern: RegExp,
  text: string,
  engine: (pattern: RegExp) => { lastIndex: number; exec(text: string): RegExpExecArray | null },
) {
  const regex = engine(pattern)
  const found: unknown[] = []
  for (let match = regex.exec(text); match !== null && found.length < 50; match = regex.exec(text)) {
    found.push([match.index, regex.lastIndex, ...match])
    if (match[0] === '') break
  }
  return found
}

describe('regular expressions', () => {
  for (const pattern of [
    /a(b+)c/g,
    /(\d+)-(\d+)/g,
    / +/g,
    /AB+c/gi,
    /^x.y$/gm,
    /(?<year>\d{4})/g,
    /(a)|(b)/g,
    /[^\w\s]/g,
    /é/g,
    /\bab/g,
  ]) {
    test(`${String(pattern)} finds what the native engine finds`, () => {
      const text = fc.string({
        unit: fc.constantFrom('a', 'b', 'c', 'B', 'x', 'y', ' ', '\n', '1', '2', '-', 'é', '.'),
      })
      fc.assert(
        fc.property(text, (given) => {
          deepEqual(
            all(pattern, given, (each) => new Regex(each)),
            all(pattern, given, (each) => new RegExp(each)),
          )
        }),
      )
    })
  }

  test('a character outside the basic plane is one character, which the native engine halves', () => {
    deepEqual(
      all(/[^\w]/g, 'a😀b', (each) => new Regex(each)),
      [[1, 3, '😀']],
    )
  })

  test('what makes the native engine backtrack is linear', () => {
    equal(new Regex(/^(a+)+$/g).exec(`${'a'.repeat(50_000)}!`), null)
  })

  for (const [pattern, message] of [
    [/a(?=b)/g, /lookahead and lookbehind are not supported/],
    [/(?<!a)b/g, /lookahead and lookbehind are not supported/],
    [/(a)\1/g, /backreferences are not supported/],
    [/a{1001}/g, /not supported/],
    [/(?:\w{1,1000}){1,1}x{1,1000}y{1,1000}z{1,1000}/g, /too large: \d+ instructions, and at most 1000/],
  ] as const) {
    test(`${String(pattern).slice(0, 30)} is refused`, () => {
      throws(() => compileRegex(pattern, 1_000), { code: 'EXPRESSION_INVALID', message })
    })
  }

  test('too much text for an expression is refused before it is searched', () => {
    const Small = createRegexEngine({ ...defaultExpressionLimits, regexWork: 1_000 })
    throws(() => new Small(/a+b/g).exec('a'.repeat(1_000)), { code: 'EXPRESSION_FAILED', reason: 'REGEX_WORK' })
  })

  test('a search that goes on for too long is ended', () => {
    const Short = createRegexEngine({ ...defaultExpressionLimits, timeoutMs: -1 })
    throws(() => new Short(/a/g).exec('a'), { code: 'EXPRESSION_FAILED', reason: 'D1012' })
  })
})
