import { type Config, type Loaded, loadConfig, type Role } from '../config/load.ts'
import { ProblemsError } from '../core/problem.ts'
import type { Redactor } from '../core/redactor.ts'
import type { Owner, Resolve } from '../core/reference.ts'
import { createResolver } from '../secrets/resolver.ts'
import type { Catalog } from './catalog.ts'

export interface ReadOptions {
  readonly file: string
  readonly role: Role
  readonly catalog: Catalog
  readonly redactor: Redactor
  /**
   * False: no file is read for a reference and a variable that is missing is no problem, so that a command can look at
   * files where there are no secrets.
   */
  readonly resolve?: boolean
}

/** Reads the configuration with the references of exactly those whose process this is. */
export function readConfiguration({ file, role, catalog, redactor, resolve = true }: ReadOptions): Promise<Loaded> {
  const strict = (owner: Owner) => createResolver({ owner, redactor })
  // Without references there may be no files either.
  const { examineServerTls, ...rest } = catalog
  const known = resolve ? { ...rest, examineServerTls } : rest
  return loadConfig({ ...known, file, role, resolverFor: resolve ? strict : (owner) => lenient(strict(owner)) })
}

/** Variables are here anyway, and the data folder may be named by one; all else stays open. */
function lenient(strict: Resolve): Resolve {
  return (reference, place) => {
    const resolved = reference.kind === 'env' ? strict(reference, place) : ({ open: true } as const)
    return 'problem' in resolved ? { open: true } : resolved
  }
}

/** As `readConfiguration`; throws ProblemsError with every problem when there is one. */
export async function requireConfiguration(options: ReadOptions): Promise<Config> {
  const { problems, config } = await readConfiguration(options)
  if (config === undefined) throw new ProblemsError(problems)
  return config
}
