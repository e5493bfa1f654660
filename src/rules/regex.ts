import { RE2JS } from 're2js'
import { messageOf } from '../core/errors.ts'
import { ExpressionError } from './expression-error.ts'
import type { ExpressionLimits } from './limits.ts'

/** Compiled expressions that are kept; jsonata builds a regular expression anew for each evaluation. */
const remembered = 1_000

const programs = new Map<string, RE2JS>()

/** What jsonata asks of a regular expression. */
export interface RegexEngine {
  new (pattern: RegExp): { lastIndex: number; exec(text: string): RegExpExecArray | null }
}

/**
 * The regular expressions of jsonata on RE2, whose time is linear in the text: no device text can stall it. `lookahead`,
 * `lookbehind` and backreferences are not in RE2 and are refused.
 */
export function createRegexEngine(limits: ExpressionLimits): RegexEngine {
  return class Re2 {
    readonly #source: string
    readonly #program: RE2JS
    readonly #size: number
    readonly #until: number
    #text: string | undefined
    #matcher: ReturnType<RE2JS['matcher']> | undefined
    lastIndex = 0

    constructor(pattern: RegExp) {
      this.#source = pattern.source
      this.#program = compileRegex(pattern, limits.regexProgram)
      this.#size = this.#program.programSize()
      // jsonata makes one for each evaluation and then searches in loops that its own timeout doesn't see.
      this.#until = performance.now() + limits.timeoutMs
    }

    exec(text: string): RegExpExecArray | null {
      if (text.length * this.#size > limits.regexWork)
        throw this.#failure('REGEX_WORK', 'is too much for a text of this length')
      if (performance.now() > this.#until) throw this.#failure('D1012', `took more than ${limits.timeoutMs} ms`)
      if (this.#matcher === undefined || this.#text !== text) {
        this.#matcher = this.#program.matcher(text)
        this.#text = text
      }
      const matcher = this.#matcher
      if (this.lastIndex > text.length || !matcher.find(this.lastIndex)) {
        this.lastIndex = 0
        return null
      }
      const groups: (string | undefined)[] = []
      for (let group = 0; group <= matcher.groupCount(); group += 1) groups.push(matcher.group(group) ?? undefined)
      this.lastIndex = matcher.end()
      // INVARIANT: group 0 is the match itself and there.
      return Object.assign(groups as [string, ...string[]], { index: matcher.start(), input: text })
    }

    #failure(reason: string, sentence: string): ExpressionError {
      return new ExpressionError(
        'EXPRESSION_FAILED',
        `the regular expression /${this.#source.slice(0, 100)}/ ${sentence}`,
        { reason },
      )
    }
  }
}

/** Throws ExpressionError EXPRESSION_INVALID for what RE2 doesn't have, and for programs over the limit. */
export function compileRegex(pattern: RegExp, programLimit: number): RE2JS {
  const key = `${pattern.flags}/${pattern.source}`
  const known = programs.get(key)
  if (known !== undefined) return known
  const program = translate(pattern)
  const size = program.programSize()
  if (size > programLimit) {
    const message = `the regular expression is too large: ${size} instructions, and at most ${programLimit} are allowed`
    throw new ExpressionError('EXPRESSION_INVALID', message, { reason: 'REGEX_SIZE' })
  }
  const oldest = programs.size >= remembered ? programs.keys().next().value : undefined
  if (oldest !== undefined) programs.delete(oldest)
  programs.set(key, program)
  return program
}

function translate(pattern: RegExp): RE2JS {
  let flags = 0
  if (pattern.ignoreCase) flags |= RE2JS.CASE_INSENSITIVE
  if (pattern.multiline) flags |= RE2JS.MULTILINE
  if (pattern.dotAll) flags |= RE2JS.DOTALL
  try {
    return RE2JS.compile(RE2JS.translateRegExp(pattern.source), flags)
  } catch (error) {
    throw new ExpressionError('EXPRESSION_INVALID', complaintAbout(pattern.source, messageOf(error)), {
      reason: 'REGEX_UNSUPPORTED',
      cause: error,
    })
  }
}

function complaintAbout(source: string, said: string): string {
  const why = 'regular expressions run in linear time here (RE2)'
  if (/\(\?<?[=!]/.test(source)) return `lookahead and lookbehind are not supported: ${why}`
  if (/\\[1-9]|\\k</.test(source)) return `backreferences are not supported: ${why}`
  return `the regular expression is not supported: ${said}`
}
