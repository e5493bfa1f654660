import type { z } from 'zod'
import type { Problem } from '../core/problem.ts'
import type { Path } from './path.ts'
import { checkSchema } from './schema-problems.ts'
import { type YamlFile, valueAt } from './yaml.ts'

export interface WithCheck {
  readonly file: YamlFile
  /** Where `own` stands in the file. */
  readonly path: Path
  /** The options written here. */
  readonly own: unknown
  /** What the worker's file says beneath them; checked there. */
  readonly defaults: Readonly<Record<string, unknown>>
  readonly schema: z.ZodType
  /** Options may be missing: an action will bring them. */
  readonly partial?: boolean
}

/**
 * Checks `with` options against a forwarder's schema. A value that holds a `${ … }` template is known only when a message
 * comes, so nothing is said about it here.
 */
export function checkWith({ file, path, own, defaults, schema, partial = false }: WithCheck): readonly Problem[] {
  if (!isMapping(own)) return [] // its own schema has said so
  const merged = { ...defaults, ...own }
  const checked = checkSchema(file, schema, merged, {
    base: path,
    ignore: (at, fault) => {
      if (fault === 'missing') return partial && at.length <= 1
      const fromDefaults = at.length > 0 && !Object.hasOwn(own, String(at[0]))
      if (fromDefaults || fault === 'unknown') return fromDefaults
      return at.some((_, index) => isTemplate(valueAt(merged, at.slice(0, index + 1))))
    },
  })
  return checked.problems
}

/** Those defaults of a worker that hold templates: ingest renders them, so they travel with the action. */
export function templatesIn(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => holdsTemplate(value)))
}

function holdsTemplate(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return isTemplate(value)
  return Object.values(value).some(holdsTemplate)
}

function isTemplate(value: unknown): boolean {
  return typeof value === 'string' && value.includes('${')
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
