import { resolve } from 'node:path'
import type { Config } from '../config/load.ts'
import { readRuleFiles } from '../config/rule-files.ts'
import { SluiceError } from '../core/errors.ts'
import { type Problem, ProblemsError } from '../core/problem.ts'
import type { RuleDefinition } from '../core/rule.ts'
import type { Catalog } from './catalog.ts'

/** The rules of files or folders that a command names, checked against the configuration's workers. Throws ProblemsError. */
export async function rulesAt(
  paths: readonly string[],
  { settings, workers }: Config,
  catalog: Catalog,
): Promise<readonly RuleDefinition[]> {
  const problems: Problem[] = []
  const rules: RuleDefinition[] = []
  for (const path of paths) {
    const found = await readRuleFiles({
      ...catalog,
      folder: resolve(path),
      cwd: process.cwd(),
      limits: settings.limits,
      workers,
      workerNames: new Set(workers.keys()),
    })
    if (found.missing) throw new SluiceError('WRONG_USE', `there is no file or folder ${path}`)
    problems.push(...found.problems)
    rules.push(...found.rules)
  }
  if (problems.length > 0) throw new ProblemsError(problems)
  return rules
}
