import { type Config, type Loaded, loadConfig, type Role } from '../config/load.ts'
import { ProblemsError } from '../core/problem.ts'
import type { Redactor } from '../core/redactor.ts'
import { createResolver } from '../secrets/resolver.ts'
import type { Catalog } from './catalog.ts'

export interface ReadOptions {
  readonly file: string
  readonly role: Role
  readonly catalog: Catalog
  readonly redactor: Redactor
  /** False: references are left alone, so that files can be checked where there are no secrets. */
  readonly resolve?: boolean
}

/** Reads the configuration with the references of exactly those whose process this is. */
export function readConfiguration({ file, role, catalog, redactor, resolve = true }: ReadOptions): Promise<Loaded> {
  return loadConfig({
    ...catalog,
    file,
    role,
    ...(resolve && { resolverFor: (owner) => createResolver({ owner, redactor }) }),
  })
}

/** As `readConfiguration`; throws ProblemsError with every problem when there is one. */
export async function requireConfiguration(options: ReadOptions): Promise<Config> {
  const { problems, config } = await readConfiguration(options)
  if (config === undefined) throw new ProblemsError(problems)
  return config
}
