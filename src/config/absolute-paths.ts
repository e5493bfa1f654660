import { resolve } from 'node:path'
import type { z } from 'zod'
import { isFilePath } from '../core/file-path.ts'
import { findMark, mapTexts } from './marked-texts.ts'

/** Every `filePath()` in a validated value, made absolute. */
export function filePathsIn(schema: z.core.$ZodType, value: unknown, folder: string): string[] {
  const paths: string[] = []
  mapTexts(schema, value, (text, own) => {
    if (isPath(own, text)) paths.push(resolve(folder, text))
    return text
  })
  return paths
}

/** The validated value with every `filePath()` in it made absolute, starting from `folder`. */
export function withAbsolutePaths(schema: z.core.$ZodType, value: unknown, folder: string): unknown {
  return mapTexts(schema, value, (text, own) => (isPath(own, text) ? resolve(folder, text) : text))
}

function isPath(schema: z.core.$ZodType, text: string): boolean {
  return findMark(schema, text, (inner) => isFilePath(inner) || undefined) === true
}
