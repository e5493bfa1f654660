import { type Certainty, no, unknown, yes } from './certainty.ts'
import type { PolicyContext } from './context.ts'
import { complainUnknown } from './unknown.ts'
import type { Report } from './report.ts'
import type { Variable } from './variable.ts'
import { alias, findVariable, variableNames } from './variables.ts'

/** Any one character. */
const one = Symbol('?')
/** Any characters, or none. */
export const many = Symbol('*')

/** A piece of a template: plain text, a wildcard or a variable. Two texts are never neighbours, nor two stars. */
export type Token = string | typeof one | typeof many | Variable

/**
 * A text of a policy: plain characters, variables and, where they mean something, `*` and `?`. What a variable becomes is
 * always plain text: a client named `*` matches `*` and nothing else.
 */
export class Template {
  readonly tokens: readonly Token[]
  /** The plain text it begins with; empty where it begins with something else. */
  readonly prefix: string
  /** The plain text it ends with. Topics mostly differ near their end, so a look at it spares most walks over the tokens. */
  readonly #suffix: string

  constructor(tokens: readonly Token[]) {
    this.tokens = joined(tokens)
    const [first] = this.tokens
    const last = this.tokens.at(-1)
    this.prefix = typeof first === 'string' ? first : ''
    this.#suffix = typeof last === 'string' ? last : ''
  }

  /** The text itself, where there is nothing else in it. */
  get literal(): string | undefined {
    if (this.tokens.length === 0) return ''
    return this.tokens.length === 1 && typeof this.tokens[0] === 'string' ? this.tokens[0] : undefined
  }

  get hasVariables(): boolean {
    return this.variables.length > 0
  }

  get variables(): readonly Variable[] {
    return this.tokens.filter((token) => typeof token === 'object')
  }

  /** Names of its variables that have no value. */
  missing(context: PolicyContext): readonly string[] {
    return this.variables.filter((variable) => variable.text(context) === undefined).map(({ name }) => name)
  }

  /** Whether it is `*`. */
  get isAnything(): boolean {
    return this.tokens.length === 1 && this.tokens[0] === many
  }

  /** The text with its variables in place; undefined where one has no value, and where it holds wildcards. */
  render(context: PolicyContext): string | undefined {
    let text = ''
    for (const token of this.tokens) {
      if (typeof token === 'symbol') return undefined
      const part = typeof token === 'string' ? token : token.text(context)
      if (part === undefined) return undefined
      text += part
    }
    return text
  }

  /**
   * Whether the text from `start` to its end matches. A variable without a value may be anything, and makes a match that
   * needs it `unknown`.
   *
   * Only the last `*` is ever extended, because an earlier one could gain nothing by it. So the time is at most the
   * product of both lengths, whatever the pattern and the text are.
   */
  match(text: string, start: number, context: PolicyContext): Certainty {
    if (!standsAt(text, this.#suffix, text.length - this.#suffix.length)) return no
    if (!standsAt(text, this.prefix, start)) return no
    const { tokens } = this
    let result: Certainty = yes
    let index = this.prefix === '' ? 0 : 1
    let position = start + this.prefix.length
    /** The token after the last star, and where that star's part of the text ends. */
    let afterStar = -1
    let starEnd = 0
    for (;;) {
      let token = tokens[index]
      if (token === undefined && position === text.length) return result
      if (typeof token === 'object') {
        token = token.text(context)
        if (token === undefined) {
          result = unknown
          token = many
        }
      }
      if (token === many) {
        index += 1
        if (index === tokens.length) return result
        afterStar = index
        starEnd = position
        continue
      }
      const next = after(token, text, position)
      if (next !== -1) {
        position = next
        index += 1
        continue
      }
      if (afterStar === -1 || starEnd >= text.length) return no
      starEnd += widthAt(text, starEnd)
      // Straight to the next place where the text after the star stands; without one, no longer star helps.
      if (typeof token === 'string' && index === afterStar) starEnd = text.indexOf(token, starEnd)
      if (starEnd === -1) return no
      position = starEnd
      index = afterStar
    }
  }
}

/** Where the text goes on after this token, or -1 where the token doesn't stand there. */
function after(token: string | typeof one | undefined, text: string, position: number): number {
  if (token === undefined) return -1
  if (token === one) return position < text.length ? position + widthAt(text, position) : -1
  return standsAt(text, token, position) ? position + token.length : -1
}

/** `text.startsWith(part, position)`, several times as fast: parts of topics mostly differ near their end. */
export function standsAt(text: string, part: string, position: number): boolean {
  if (position < 0 || position + part.length > text.length) return false
  for (let index = part.length - 1; index >= 0; index -= 1) {
    if (text.charCodeAt(position + index) !== part.charCodeAt(index)) return false
  }
  return true
}

/** UTF-16 units of the character there: `?` takes a whole character, not half of one. */
function widthAt(text: string, position: number): number {
  return (text.codePointAt(position) ?? 0) > 0xffff ? 2 : 1
}

/** Neighbouring texts as one, and of neighbouring stars one. */
function joined(tokens: readonly Token[]): Token[] {
  const result: Token[] = []
  for (const token of tokens) {
    const last = result.at(-1)
    if (token === '' || (token === many && last === many)) continue
    if (typeof token === 'string' && typeof last === 'string') result[result.length - 1] = last + token
    else result.push(token)
  }
  return result
}

/**
 * Reads a text of a policy. `${name}` is a variable; `${*}`, `${?}` and `${$}` are those characters themselves (IAM,
 * "Policy variables"); a `$` before anything but `{` is a `$`. A variable that doesn't exist never has a value. The form
 * `$(*)` that AWS IoT's page prints is no escape (docs/decisions/0007).
 */
export function parseTemplate(text: string, wildcards: boolean, path: string, report: Report): Template {
  const tokens: Token[] = []
  for (let position = 0; position < text.length;) {
    if (text.startsWith('${', position)) {
      const end = text.indexOf('}', position)
      if (end === -1) {
        report.malformed(path, 'a "${" is never closed; write ${$} for a plain $ before {')
        break
      }
      tokens.push(variableOf(text.slice(position + 2, end), path, report))
      position = end + 1
      continue
    }
    if (wildcards && /^\$\([*?$]\)/.test(text.slice(position, position + 4))) {
      const escape = `\${${text.charAt(position + 2)}}`
      report.note(path, `"${text.slice(position, position + 4)}" is no escape; for the plain character write ${escape}`)
    }
    const character = text.charAt(position)
    tokens.push(wildcards && character === '*' ? many : wildcards && character === '?' ? one : character)
    position += 1
  }
  return new Template(tokens)
}

function variableOf(name: string, path: string, report: Report): Token {
  if (name === '*' || name === '?' || name === '$') return name
  report.uses(name)
  const variable = findVariable(name)
  if (name === alias.name) report.note(path, `${alias.name} is in no list of AWS's; write ${alias.of}`)
  if (variable !== undefined) return variable
  report.doubtful(path, complainUnknown('variable', name, variableNames))
  return { name, text: () => undefined, values: () => [undefined] }
}

/** Reads a pattern without variables, as actions are: every `$` is a `$`. */
export function parsePattern(text: string): Template {
  return new Template(Array.from(text, (character) => (character === '*' ? many : character === '?' ? one : character)))
}

/** Cuts an ARN pattern at its first five colons outside variables. Fewer parts where it has fewer colons. */
export function splitArn(template: Template): Template[] {
  const parts: Token[][] = [[]]
  for (const token of template.tokens) {
    if (typeof token !== 'string') {
      parts.at(-1)?.push(token)
      continue
    }
    let rest = token
    for (let colon = rest.indexOf(':'); colon !== -1 && parts.length < 6; colon = rest.indexOf(':')) {
      parts.at(-1)?.push(rest.slice(0, colon))
      parts.push([])
      rest = rest.slice(colon + 1)
    }
    parts.at(-1)?.push(rest)
  }
  return parts.map((tokens) => new Template(tokens))
}
