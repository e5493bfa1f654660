import { type Certainty, no, unknown, yes } from './certainty.ts'
import type { PolicyContext } from './context.ts'
import type { Report } from './report.ts'
import { show } from './values.ts'
import { parseTemplate, splitArn, Template } from './template.ts'

/** Where the resource part of an ARN begins, after its fifth colon; -1 where the text is no ARN. */
export function resourceStart(arn: string): number {
  if (!arn.startsWith('arn:')) return -1
  let colon = 3
  for (let count = 1; count < 5; count += 1) {
    colon = arn.indexOf(':', colon + 1)
    if (colon === -1) return -1
  }
  return colon + 1
}

/**
 * An ARN with wildcards and variables. Each of its first five parts matches within itself, so that no `*` for the account reaches
 * into the name: `arn:aws:iot:*:*:topic/a` must not match a topic called `x:topic/a`.
 */
export class ArnPattern {
  readonly #head: readonly Template[]
  /** The part after the fifth colon. */
  readonly tail: Template

  constructor(head: readonly Template[], tail: Template) {
    this.#head = head
    this.tail = tail
  }

  get headHasVariables(): boolean {
    return this.#head.some((part) => part.hasVariables)
  }

  /** Whether the first five parts, given with the colon after each, match. */
  matchHead(head: string, context: PolicyContext): Certainty {
    const parts = head.split(':')
    let result: Certainty = yes
    for (const [index, pattern] of this.#head.entries()) {
      const part = pattern.match(parts[index] ?? '', 0, context)
      if (part < result) result = part
    }
    return result
  }

  /** Whether the whole ARN matches; `unknown` for a text that is no ARN. */
  match(arn: string, context: PolicyContext): Certainty {
    const start = resourceStart(arn)
    if (start === -1) return unknown
    const head = this.matchHead(arn.slice(0, start), context)
    if (head === no) return no
    const tail = this.tail.match(arn, start, context)
    return tail < head ? tail : head
  }
}

/**
 * Reads an ARN pattern. `arn:aws:iot:*` stands for everything below; any other text with fewer than six parts is malformed,
 * as in IAM.
 */
export function parseArnPattern(text: string, path: string, report: Report): ArnPattern {
  const parts = splitArn(parseTemplate(text, true, path, report))
  const last = parts.at(-1)
  if (parts.length > 1 && last?.isAnything === true) while (parts.length < 6) parts.push(last)
  const tail = parts.pop()
  if (parts.length !== 5 || tail === undefined || parts[0]?.literal !== 'arn') {
    report.malformed(path, `${show(text)} is not an ARN; write arn:aws:iot:<region>:<account>:<type>/<name>`)
    return new ArnPattern([], new Template([]))
  }
  return new ArnPattern(parts, tail)
}
