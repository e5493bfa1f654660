import { z } from 'zod'

/**
 * Text, or the path of a file that holds it: PEM by default. config/ reads the file (a relative path starts from the folder of the
 * file it stands in), puts its text in the place of its path, and has it watched.
 */
export const fileText = (looksLike: RegExp = /-----BEGIN /) => z.string().min(1).meta({ fileText: looksLike })

/** How the text of a schema made by `fileText` is told from a path; undefined for any other schema. */
export function fileTextMark(schema: z.core.$ZodType): RegExp | undefined {
  const mark = z.globalRegistry.get(schema)?.['fileText']
  return mark instanceof RegExp ? mark : undefined
}
