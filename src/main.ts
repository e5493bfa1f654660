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
    .version('0.1.0')
    .option('--config <file>', 'the configuration file', './sluice.yaml')
    .showHelpAfterError('(add --help for what there is)')
    .exitOverride()
  for (const add of commands) add(program)
  // Errors of a command's own options must end with 2 as well, and commander doesn't hand the override down by itself.
  const strict = (command: Command): void =>
    command.commands.forEach((child) => (child.exitOverride(), child.showHelpAfterError(), strict(child)))
  strict(program)
  await program.parseAsync(parameters, { from: 'user' })
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  process.exitCode = exitCodeOf(error)
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (error instanceof ProblemsError) {
    printProblems(error.problems, { json: false })
    return 1
  }
  console.error(`sluice: ${messageOf(error)}`)
  // A defect of ours deserves its stack; what a user can cause doesn't.
  if (!(error instanceof SluiceError) && error instanceof Error) console.error(error.stack)
  return error instanceof SluiceError && error.code === 'WRONG_USE' ? 2 : 1
}
