import { deepEqual, ok } from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import type { PolicyComplaint } from '../../src/config/identity-files.ts'
import type { RuleComplaint } from '../../src/config/rule-files.ts'
import { formatProblem } from '../../src/core/problem.ts'
import type { RuleDefinition } from '../../src/core/rule.ts'
import { loadFolder, writeConfig } from '../support/config-folder.ts'

/** test/cases/config-problems/*.yaml: a configuration, and every line that `sluice check` prints for it. */
interface Case {
  readonly note: string
  readonly files: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
  readonly problems: readonly string[]
}

/** Stands in for rules/: wherever an expression says BAD. */
function complaintsOf(text: string): { message: string; offset: number }[] {
  const offset = text.indexOf('BAD')
  return offset < 0 ? [] : [{ message: 'unexpected BAD', offset }]
}

function examineRule({ where, select, to }: RuleDefinition): RuleComplaint[] {
  const found: RuleComplaint[] = []
  for (const [path, text] of Object.entries({ where, select })) {
    for (const complaint of complaintsOf(text ?? '')) found.push({ path, ...complaint })
  }
  for (const [index, action] of to.entries()) {
    for (const [key, text] of Object.entries(action.with ?? {})) {
      for (const complaint of complaintsOf(String(text))) found.push({ path: `to.${index}.with.${key}`, ...complaint })
    }
  }
  return found
}

/** Stands in for policy/. */
function examinePolicyDocument(document: unknown): PolicyComplaint[] {
  const { Statement: statements } = document as { Statement?: readonly { Effect?: string }[] }
  if (statements === undefined) return [{ path: '', message: 'not a policy document' }]
  return statements.flatMap(({ Effect }, index) =>
    Effect === 'Permit' ? [{ path: `Statement.${index}.Effect`, message: 'must be Allow or Deny' }] : [],
  )
}

for (const path of globSync('test/cases/config-problems/*.yaml').toSorted()) {
  describe(`problems of ${basename(path, '.yaml')}`, () => {
    const cases = parse(readFileSync(path, 'utf8')) as Case[]
    for (const { note, files, env = {}, problems } of cases) {
      it(note, async (t) => {
        const folder = await writeConfig(t, files)
        const loaded = await loadFolder(folder, {
          env,
          examineRule,
          examinePolicyDocument,
          examineTemplate: complaintsOf,
        })
        const lines = loaded.problems.map((problem) => formatProblem(problem).replaceAll(folder, 'FOLDER'))
        deepEqual(lines, problems)
        ok(
          (loaded.config === undefined) === problems.length > 0,
          'a config is given exactly when there are no problems',
        )
      })
    }
  })
}
