import about from '../package.json' with { type: 'json' }
import { Command, CommanderError } from 'commander'
import { messageOf, SluiceError } from './core/errors.ts'
import { ProblemsError } from './core/problem.ts'
import { commands } from './commands/index.ts'
import { printProblems } from './commands/output.ts'

/** Exit codes: 0 fine, 1 problems found or failed, 2 wrong use. */
async function main(parameters: readonly string[]): Promise<void> {
  const program = new Command('sluice')
    .description(
      'Routes device messages beside an MQTT broker: identities, AWS IoT policies, rules, and workers with credentials of their own.',
    )
    .version(about.version)
    .option('--config <file>', 'the configuration file', './sluice.yaml')
    // What is set here holds for every command added below it.
    .showHelpAfterError('(add --help for what there is)')
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', '\nExit codes: 0 fine, 1 problems found or failed (or denied), 2 wrong use.')
    .exitOverride()
  for (const add of commands) add(program)
  await program.parseAsync(parameters, { from: 'user' })
}

// A reader that leaves early (`| head`) is no failure, and a daemon must not end with whoever read its log.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  process.exitCode = exitCodeOf(error)
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (error instanceof ProblemsError) {
    printProblems(error.problems)
    return 1
  }
  console.error(`sluice: ${messageOf(error)}`)
  // A defect of ours deserves its stack; what a user can cause doesn't.
  if (!(error instanceof SluiceError) && error instanceof Error) console.error(error.stack)
  return error instanceof SluiceError && error.code === 'WRONG_USE' ? 2 : 1
}
