import { statSync } from 'node:fs'
import { messageOf } from '../../src/core/errors.ts'
import { createJsonataSuite } from './cases/jsonata.ts'
import { policySuite } from './cases/policy.ts'
import { shadowSuite } from './cases/shadows.ts'
import { sqlSuite } from './cases/sql.ts'
import type { CaseResult, Suite } from './cases/suite.ts'
import { templateSuite } from './cases/templates.ts'

/**
 * `npm run test:cases -- DIR`: runs every conformance case in a folder against Sluice, prints what missed, and ends with
 * `N passed, N failed` (`, N skipped` where there are any). Exit code 1 when a case failed, 2 when the folder is no folder of cases.
 */
const suites: readonly Suite[] = [policySuite, sqlSuite, shadowSuite, templateSuite, createJsonataSuite()]

/** Characters of an expected or got value that are printed. */
const shown = 200

async function main(folder: string | undefined): Promise<number> {
  if (folder === undefined || statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    console.error(`usage: npm run test:cases -- DIR${folder === undefined ? '' : `: ${folder} is not a folder`}`)
    return 2
  }
  const all: CaseResult[] = []
  for (const suite of suites) {
    const results = await suite.run(folder)
    if (results === undefined) continue
    printSuite(suite.name, results)
    all.push(...results)
  }
  if (all.length === 0) {
    console.error(`${folder} holds no cases`)
    return 2
  }
  console.log(summary(all))
  return count(all, 'failed') === 0 ? 0 : 1
}

function printSuite(name: string, results: readonly CaseResult[]): void {
  console.log(`${name}: ${summary(results)}`)
  for (const result of results) {
    if (result.kind !== 'failed') continue
    console.log(`  ${result.id}\n    expected ${cut(result.expected)}\n    got      ${cut(result.got)}`)
  }
  const skipped = results.filter((result) => result.kind === 'skipped')
  for (const [reason, cases] of Object.entries(Object.groupBy(skipped, ({ reason }) => reason))) {
    const ids = cases?.map(({ id }) => id) ?? []
    console.log(`  not supported: ${reason}: ${ids.length > 10 ? `${ids.length} cases` : ids.join(', ')}`)
  }
}

function summary(results: readonly CaseResult[]): string {
  const skipped = count(results, 'skipped')
  const base = `${count(results, 'passed')} passed, ${count(results, 'failed')} failed`
  return skipped === 0 ? base : `${base}, ${skipped} skipped`
}

function count(results: readonly CaseResult[], kind: CaseResult['kind']): number {
  return results.filter((result) => result.kind === kind).length
}

function cut(text: string): string {
  return text.length > shown ? `${text.slice(0, shown)}…` : text
}

try {
  process.exitCode = await main(process.argv[2])
} catch (error) {
  console.error(messageOf(error))
  process.exitCode = 2
}
