import { z } from 'zod'

/**
 * A path in a config file. A relative one starts from the folder of the file it stands in: config/ makes it absolute, in
 * settings of forwarders and credentials too, so that `open` never depends on where the process was started.
 */
export const filePath = () => z.string().min(1).meta({ filePath: true })

/** Whether a schema was made by `filePath`. */
export function isFilePath(schema: z.core.$ZodType): boolean {
  return z.globalRegistry.get(schema)?.['filePath'] === true
}
