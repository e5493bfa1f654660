import { resolve } from 'node:path'
import type { z } from 'zod'
import { isFilePath } from '../core/file-path.ts'

/** The validated value with every `filePath()` in it made absolute, starting from `folder`. */
export function withAbsolutePaths(schema: z.core.$ZodType, value: unknown, folder: string): unknown {
  if (typeof value === 'string') return isPath(schema) ? resolve(folder, value) : value
  const shape = definitionOf(schema).shape
  if (shape === undefined || typeof value !== 'object' || value === null) return value
  const result: Record<string, unknown> = {}
  for (const [key, inner] of Object.entries(value)) {
    const own = Object.hasOwn(shape, key) ? shape[key] : undefined
    result[key] = own === undefined ? inner : withAbsolutePaths(own, inner, folder)
  }
  return result
}

interface Definition {
  readonly shape?: Readonly<Record<string, z.core.$ZodType>>
  readonly innerType?: z.core.$ZodType
}

/** What stands inside optional, default and their like. */
function definitionOf(schema: z.core.$ZodType): Definition {
  const definition = schema._zod.def as Definition
  return definition.innerType === undefined ? definition : definitionOf(definition.innerType)
}

function isPath(schema: z.core.$ZodType): boolean {
  if (isFilePath(schema)) return true
  const { innerType } = schema._zod.def as Definition
  return innerType !== undefined && isPath(innerType)
}
