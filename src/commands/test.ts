import type { Command } from 'commander'
import { catalog } from '../app/catalog.ts'
import { expressionLimits } from '../app/expression-limits.ts'
import { rulesAt } from '../app/rules-at.ts'
import { runRuleTests, type RuleTestResult } from '../rules/rule-test.ts'
import { formatPosition } from '../core/problem.ts'
import { readWithoutSecrets } from './context.ts'
import { paint } from './output.ts'

export function addTest(program: Command): void {
  program
    .command('test [path...]')
    .description('run the tests written in rules; all of them, or those of the named files and folders')
    .option('--json', 'print one JSON document')
    .action(async (paths: readonly string[], options: { json?: true }) => {
      const config = await readWithoutSecrets(program)
      const rules = paths.length === 0 ? config.rules : await rulesAt(paths, config, catalog)
      const results = await runRuleTests(rules, {
        limits: expressionLimits(config.settings.limits),
        kindOf: (worker) => config.workers.get(worker)?.kind,
      })
      const failed = results.filter(({ passed }) => !passed)
      if (failed.length > 0) process.exitCode = 1
      if (options.json) {
        const shown = results.map(({ rule, test, passed, problems }) => ({
          rule,
          test: test.name,
          position: test.position,
          passed,
          problems,
        }))
        return console.log(
          JSON.stringify(
            { results: shown, passed: results.length - failed.length, failed: failed.length },
            undefined,
            2,
          ),
        )
      }
      for (const result of results) printResult(result)
      const untested = rules.filter(({ tests }) => tests.length === 0).map(({ name }) => name)
      if (untested.length > 0) console.log(paint('yellow', `without tests: ${untested.join(', ')}`))
      console.log(`\n${results.length - failed.length} passed, ${failed.length} failed`)
    })
}

function printResult({ rule, test, passed, problems }: RuleTestResult): void {
  console.log(`${passed ? paint('green', 'ok  ') : paint('red', 'fail')} ${rule}: ${test.name}`)
  if (passed) return
  for (const problem of problems) console.log(`     ${formatPosition(test.position)}: ${problem}`)
}
