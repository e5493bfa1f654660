import type { ExpressionLimits } from './limits.ts'
import type { Subject } from './subject.ts'
import { compileTemplate, type Template } from './template.ts'

export type Options = Readonly<Record<string, unknown>>

/** The `with` of an action, compiled. */
export interface CompiledOptions {
  /** Every template, with its dotted path inside the options. */
  readonly templates: readonly { readonly path: string; readonly template: Template }[]
  /** The options for a message; without templates always the same object. A promise only where a template needs jsonata. */
  render(subject: Subject): Options | undefined | Promise<Options | undefined>
}

/** A place in the options where the value of a template goes. */
interface Slot {
  readonly path: readonly (string | number)[]
  readonly template: Template
}

/** Compiles the templates in `with`. Calls `complain` for each that doesn't parse, with its dotted path. */
export function compileOptions(
  options: Options | undefined,
  complain: (path: string, error: unknown) => void,
  limits?: Partial<ExpressionLimits>,
): CompiledOptions {
  const slots: Slot[] = []
  visit(options, [], (text, path) => {
    try {
      const template = compileTemplate(text, limits)
      if (template !== undefined) slots.push({ path, template })
    } catch (error) {
      complain(path.join('.'), error)
    }
  })
  const templates = slots.map(({ path, template }) => ({ path: path.join('.'), template }))
  if (options === undefined || slots.length === 0) return { templates, render: () => options }
  return {
    templates,
    render(subject) {
      const values = slots.map(({ template }) => template.render(subject))
      if (!values.some((value) => value instanceof Promise)) return filled(options, slots, values)
      return Promise.all(values).then((settled) => filled(options, slots, settled))
    },
  }
}

function visit(
  value: unknown,
  path: readonly (string | number)[],
  found: (text: string, path: readonly (string | number)[]) => void,
): void {
  if (typeof value === 'string') found(value, path)
  else if (Array.isArray(value)) for (const [index, item] of value.entries()) visit(item, [...path, index], found)
  else if (typeof value === 'object' && value !== null) {
    for (const [key, field] of Object.entries(value)) visit(field, [...path, key], found)
  }
}

/** A copy of the options with the values in their places. One that is undefined leaves its key, or its item, out. */
function filled(options: Options, slots: readonly Slot[], values: readonly unknown[]): Options {
  const byPath = new Map(slots.map(({ path }, index) => [path.join('\0'), values[index]]))
  return fill(options, '', byPath) as Options
}

function fill(value: unknown, path: string, values: ReadonlyMap<string, unknown>): unknown {
  if (typeof value === 'string') return values.has(path) ? values.get(path) : value
  const below = (key: string | number) => (path === '' ? String(key) : `${path}\0${key}`)
  if (Array.isArray(value)) {
    return value.map((item, index) => fill(item, below(index), values)).filter((item) => item !== undefined)
  }
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, field]) => [key, fill(field, below(key), values)] as const)
  // fromEntries defines its keys, so that one named `__proto__` is a key like others.
  return Object.fromEntries(entries.filter(([, field]) => field !== undefined))
}
