import { readFileSync } from 'node:fs'
import { z } from 'zod'

/** Reads a file with an array of cases; throws with the path and the reason where it holds something else. */
export function readCases<T extends z.ZodType>(path: string, schema: T): readonly z.output<T>[] {
  try {
    return z.array(schema).parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (error) {
    throw new Error(`${path}: ${error instanceof z.ZodError ? z.prettifyError(error) : String(error)}`, {
      cause: error,
    })
  }
}

/** The ids of the cases in a file. */
export function readIds(path: string): readonly string[] {
  return readCases(path, z.looseObject({ id: z.string() })).map(({ id }) => id)
}
