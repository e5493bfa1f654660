import type { z } from 'zod'

/** Called with every text in a value and the schema that it was checked against, innermost first; gives what stands in its place. */
export type UseText = (text: string, schema: z.core.$ZodType, path: readonly (string | number)[]) => unknown

/**
 * The validated value with its texts replaced: for schemas that say by a mark what a text means (`filePath()`, `fileText()`).
 * Values made by a transform are left as they are.
 */
export function mapTexts(
  schema: z.core.$ZodType,
  value: unknown,
  use: UseText,
  path: readonly (string | number)[] = [],
): unknown {
  if (typeof value === 'string') return use(value, schema, path)
  if (typeof value !== 'object' || value === null) return value
  const inside = definitionOf(schema, value)
  if (Array.isArray(value)) {
    const { element } = inside
    return element === undefined ? value : value.map((item, index) => mapTexts(element, item, use, [...path, index]))
  }
  if (inside.shape === undefined && inside.valueType === undefined) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]: [string, unknown]) => {
      const own = inside.valueType ?? (Object.hasOwn(inside.shape ?? {}, key) ? inside.shape?.[key] : undefined)
      return [key, own === undefined ? inner : mapTexts(own, inner, use, [...path, key])]
    }),
  )
}

/** Whether the schema, or one that it wraps, has a mark. */
export function findMark<Mark>(
  schema: z.core.$ZodType,
  value: string,
  markOf: (schema: z.core.$ZodType) => Mark | undefined,
): Mark | undefined {
  const mark = markOf(schema)
  if (mark !== undefined) return mark
  const inner = innerOf(schema, value)
  return inner === undefined ? undefined : findMark(inner, value, markOf)
}

interface Definition {
  readonly type: string
  readonly shape?: Readonly<Record<string, z.core.$ZodType>>
  readonly element?: z.core.$ZodType
  readonly valueType?: z.core.$ZodType
  readonly innerType?: z.core.$ZodType
  readonly options?: readonly z.core.$ZodType[]
  readonly in?: z.core.$ZodType
  readonly out?: z.core.$ZodType
}

/** What stands inside optional, default, preprocess, union and their like. */
function definitionOf(schema: z.core.$ZodType, value: unknown): Definition {
  const inner = innerOf(schema, value)
  return inner === undefined ? schema._zod.def : definitionOf(inner, value)
}

function innerOf(schema: z.core.$ZodType, value: unknown): z.core.$ZodType | undefined {
  const { innerType, options, in: input, out } = schema._zod.def as Definition
  if (innerType !== undefined) return innerType
  // Of a union, the first that takes the value that it gave.
  if (options !== undefined) return options.find((option) => takes(option, value))
  if (input === undefined || out === undefined) return undefined
  return (out._zod.def as Definition).type === 'transform' ? input : out
}

function takes(schema: z.core.$ZodType, value: unknown): boolean {
  const result = schema._zod.run({ value, issues: [] }, { async: false })
  return !(result instanceof Promise) && result.issues.length === 0
}
