import type { Command } from 'commander'
import { catalog } from '../app/catalog.ts'
import { readConfiguration } from '../app/configuration.ts'
import type { Orphan } from '../app/status.ts'
import type { Config } from '../config/load.ts'
import { formatProblem, type Problem } from '../core/problem.ts'
import { Redactor } from '../core/redactor.ts'
import { notesOnPolicyDocument } from '../policy/examine.ts'
import { configFile } from './context.ts'
import { countOf, paint, printProblems } from './output.ts'

/** The queue is loaded only where files are fine: it takes as long as all the rest of the check. */
async function orphansOf(config: Config): Promise<readonly Orphan[]> {
  const { findOrphans } = await import('../app/orphans.ts')
  return findOrphans(config)
}

/** What is fine here and may not be meant, and what AWS would refuse or read in another way. */
function notesOf({ directory, notes }: Config): readonly Problem[] {
  const onPolicies = [...directory.policies.values()].flatMap(({ name, document, position, statements }) =>
    notesOnPolicyDocument(document).map(({ path, message }) => {
      const statement = /^Statement\.(?<index>\d+)/.exec(path)?.groups?.['index']
      const place = (statement === undefined ? undefined : statements?.[Number(statement)]) ?? position
      return { ...place, path, message: `policy ${name}: ${message}` }
    }),
  )
  return [...notes, ...onPolicies]
}

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
      if (config === undefined) process.exitCode = 1
      const orphans = config === undefined ? [] : await orphansOf(config)
      const notes = config === undefined ? [] : notesOf(config)
      if (options.json) return console.log(JSON.stringify({ problems, notes, orphans }, undefined, 2))
      if (config === undefined) return printProblems(problems, console.log)
      const { rules, workers, directory } = config
      for (const note of notes) console.log(paint('yellow', `${formatProblem(note)} (a note: it is taken as it is)`))
      for (const { owner, messages, envelopes, left } of orphans) {
        console.log(
          paint(
            'yellow',
            left === true
              ? `the queue that all share holds ${countOf(messages, 'message')} of "${owner}" (${countOf(envelopes, 'job')}), which has its own now; take "queue" out of its file until that is worked off`
              : `the queue of "${owner}" holds ${countOf(messages, 'message')} (${countOf(envelopes, 'envelope')}) and no file in workers/ owns it; add the file again, or purge it`,
          ),
        )
      }
      const counts = [
        countOf(rules.length, 'rule'),
        countOf(workers.size, 'worker'),
        countOf(directory.principals.size, 'principal'),
        countOf(directory.policies.size, 'policy', 'policies'),
      ]
      console.log(`${paint('green', 'fine')}: ${counts.join(', ')}`)
    })
}
