import type { Command } from 'commander'
import { catalog } from '../app/catalog.ts'
import { readConfiguration } from '../app/configuration.ts'
import { findOrphans } from '../app/orphans.ts'
import { Redactor } from '../core/redactor.ts'
import { configFile } from './context.ts'
import { paint, printProblems } from './output.ts'

export function addCheck(program: Command): void {
  program
    .command('check')
    .description('print every problem in every file as file:line:column: message')
    .option('--json', 'print one JSON document')
    .option('--skip-references', 'leave ${env:…} and ${file:…} alone, to check where there are no secrets')
    .action(async (options: { json?: true; skipReferences?: true }) => {
      const role = { kind: 'everything' } as const
      const file = configFile(program)
      const { problems, config } = await readConfiguration({
        file,
        role,
        catalog,
        redactor: new Redactor(),
        resolve: !options.skipReferences,
      })
      if (config === undefined) {
        printProblems(problems, { json: options.json ?? false })
        process.exitCode = 1
        return
      }
      const orphans = await findOrphans(config)
      const { rules, workers, directory } = config
      if (options.json) {
        console.log(JSON.stringify({ problems, orphans }, undefined, 2))
        return
      }
      for (const { owner, messages } of orphans) {
        console.log(
          paint(
            'yellow',
            `the queue of "${owner}" holds ${messages} envelopes and no file in workers/ owns it; add the file again, or purge it`,
          ),
        )
      }
      const counts = `${rules.length} rules, ${workers.size} workers, ${directory.principals.size} principals, ${directory.policies.size} policies`
      console.log(`${paint('green', 'fine')}: ${counts}`)
    })
}
