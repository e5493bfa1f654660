import { nearest } from '../core/nearest.ts'
import { actions, resourceTypes } from './actions.ts'
import { type ArnPattern, parseArnPattern } from './arn-pattern.ts'
import { no } from './certainty.ts'
import { compileConditions, type Conditions } from './condition.ts'
import { complainUnknown } from './unknown.ts'
import type { Report } from './report.ts'
import { parsePattern, type Template } from './template.ts'
import { fieldOf, type Fields, isFields, show } from './values.ts'

/** A statement, ready to be asked. */
export interface Statement {
  readonly effect: 'Allow' | 'Deny'
  /** Whether it speaks about an action, given in lower case. */
  covers(action: string): boolean
  readonly resources: Resources
  readonly conditions: Conditions | undefined
}

export interface Resources {
  /** `NotResource`: it speaks about all resources but these. */
  readonly inverted: boolean
  /** One of them is `*`. */
  readonly everything: boolean
  readonly patterns: readonly ArnPattern[]
}

const fields = ['Sid', 'Effect', 'Action', 'NotAction', 'Resource', 'NotResource', 'Condition'] as const

/** Reads a statement. What can't be read goes to the report; the result then counts for nothing, because the document denies all. */
export function compileStatement(value: unknown, path: string, report: Report): Statement | undefined {
  if (!isFields(value)) {
    report.malformed(path, `a statement must be a map, and is ${show(value)}`)
    return undefined
  }
  complainAboutFields(value, fields, 'statement', path, report)
  if (Object.hasOwn(value, 'Sid') && typeof value['Sid'] !== 'string')
    report.malformed(`${path}.Sid`, 'Sid must be text')
  const conditions = compileConditions(fieldOf(value, 'Condition'), `${path}.Condition`, report)
  const covers = compileActions(value, path, report)
  const resources = compileResources(value, path, report)
  const effect = fieldOf(value, 'Effect')
  if (effect !== 'Allow' && effect !== 'Deny') {
    report.malformed(
      effect === undefined ? path : `${path}.Effect`,
      effect === undefined
        ? 'Effect is missing; write Allow or Deny'
        : `Effect must be Allow or Deny, and is ${show(effect)}`,
    )
    return undefined
  }
  noteUselessResources(covers, resources, path, report)
  return { effect, covers, resources, conditions }
}

/** A field that we don't know may be a misspelt `Condition`: leaving it out would allow more than its author meant. */
export function complainAboutFields(
  value: Fields,
  known: readonly string[],
  what: string,
  path: string,
  report: Report,
): void {
  for (const name of Object.keys(value)) {
    if (known.includes(name)) continue
    const close = nearest(name, known)
    const hint = close === undefined ? `it has ${known.join(', ')}` : `did you mean ${close}?`
    report.malformed(path === '' ? name : `${path}.${name}`, `a ${what} has no field ${show(name)}; ${hint}`)
  }
}

function compileActions(value: Fields, path: string, report: Report): Statement['covers'] {
  const { name, list } = eitherOf(value, 'Action', 'NotAction', path, report)
  const inverted = name === 'NotAction'
  const patterns: Template[] = []
  for (const { text, path } of list) {
    const pattern = parsePattern(text.toLowerCase())
    patterns.push(pattern)
    if (!actions.some((action) => covers([pattern], action.toLowerCase()))) {
      report.doubtful(path, complainUnknown('action', text, actions))
    }
  }
  return (action) => covers(patterns, action) !== inverted
}

/** An AWS example grants iot:Subscribe on `topic/…`, which is about no subscription at all (aws-security §17.8). */
function noteUselessResources(covers: Statement['covers'], resources: Resources, path: string, report: Report): void {
  if (resources.inverted) return
  const types = new Set<string>(
    actions.filter((action) => covers(action.toLowerCase())).map((action) => resourceTypes[action]),
  )
  if (types.size === 0) return
  for (const { tail } of resources.patterns) {
    const type = /^(?<type>[a-z]+)\//.exec(tail.prefix)?.groups?.['type']
    if (type === undefined || types.has(type)) continue
    report.note(path, `none of its actions is about ${type}/…, but about ${[...types].join('/…, ')}/…`)
  }
}

function covers(patterns: readonly Template[], action: string): boolean {
  return patterns.some((pattern) => pattern.match(action, 0, {}) !== no)
}

function compileResources(value: Fields, path: string, report: Report): Resources {
  const { name, list } = eitherOf(value, 'Resource', 'NotResource', path, report)
  const patterns: ArnPattern[] = []
  let everything = false
  for (const { text, path } of list) {
    if (parsePattern(text).isAnything) {
      everything = true
      continue
    }
    const pattern = parseArnPattern(text, path, report)
    if (pattern.headHasVariables) {
      report.malformed(path, 'a variable may only stand after the account, in the last part of the ARN')
    }
    patterns.push(pattern)
  }
  return { inverted: name === 'NotResource', everything, patterns }
}

interface Item {
  readonly text: string
  readonly path: string
}

/** The one of two fields that is there, as a list of texts that isn't empty: an empty NotAction would speak about everything. */
function eitherOf(
  value: Fields,
  plain: string,
  inverted: string,
  path: string,
  report: Report,
): { readonly name: string; readonly list: readonly Item[] } {
  const names = [plain, inverted].filter((name) => Object.hasOwn(value, name))
  const [name] = names
  if (name === undefined || names.length > 1) {
    report.malformed(
      path,
      name === undefined ? `${plain} is missing` : `a statement has ${plain} or ${inverted}, and this one has both`,
    )
    return { name: plain, list: [] }
  }
  const at = `${path}.${name}`
  const content = value[name]
  const items = Array.isArray(content)
    ? content.map((item: unknown, index) => ({ item, path: `${at}.${index}` }))
    : [{ item: content, path: at }]
  if (items.length === 0) report.malformed(at, `${name} is empty`)
  const list = items.flatMap(({ item, path }) => {
    if (typeof item === 'string' && item !== '') return [{ text: item, path }]
    report.malformed(path, `${name} must be text or a list of texts, and this is ${show(item)}`)
    return []
  })
  return { name, list }
}
