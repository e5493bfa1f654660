import { displayName } from '../config/files.ts'
import type { Config } from '../config/load.ts'
import type { Problem } from '../core/problem.ts'

/**
 * What a configuration has lost since the one that runs, without a word that it is meant so: a folder that is not mounted any more, or
 * a file that was cut off, must not turn routing off while every message is still acknowledged. (Identities may go: then less is
 * allowed, and to lock somebody out has to work at once.)
 */
export function accidents(before: Config, after: Config): readonly Problem[] {
  const problems: Problem[] = []
  const complain = (path: string, message: string): void =>
    void problems.push({ file: displayName(path, process.cwd()), line: 1, column: 1, path: '', message })
  if (after.isEmpty && !before.isEmpty)
    complain(after.file, 'the file is empty; write "{}" if everything is to have its default')
  if (before.rules.length > 0 && after.rules.length === 0 && !after.saysNoRules) {
    const count = before.rules.length === 1 ? 'a rule' : `${before.rules.length} rules`
    complain(
      after.settings.rules,
      `held ${count} and holds none now; a file with "rules: []" says that there are to be none`,
    )
  }
  // The workers are new and `unmatched` is the old one until a restart.
  for (const worker of before.settings.unmatched)
    if (!after.workers.has(worker))
      complain(
        after.file,
        `the running Sluice sends to worker "${worker}" what no rule takes (unmatched), and it is gone: restart to apply that`,
      )
  return problems
}
