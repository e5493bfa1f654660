import type { Command } from 'commander'
import type { Problem } from '../core/problem.ts'
import { ask } from './context.ts'
import { printProblems } from './output.ts'

export function addReload(program: Command): void {
  program
    .command('reload')
    .description('have a running Sluice read its folders again now, whole or not at all')
    .action(async () => {
      const { problems } = (await ask(program, 'POST', '/reload')) as { problems: readonly Problem[] }
      if (problems.length === 0) return console.log('reloaded')
      printProblems(problems)
      console.error('nothing was changed: the running configuration goes on')
      process.exitCode = 1
    })
}
