import type { Command } from 'commander'
import { catalog } from '../app/catalog.ts'
import { configFile } from './context.ts'

// Queues and doors are loaded only by the commands that run them: all the others answer in half the time without.

/** `start`, `ingest` and `worker`: the commands that go on until they are stopped. */
export function addRun(program: Command): void {
  program
    .command('start')
    .description('run everything that the configuration names')
    .action(async () => {
      const { runEverything } = await import('../app/start.ts')
      exitWith(await runEverything(configFile(program), catalog))
    })
  program
    .command('ingest')
    .description('run the doors, identities and rules, without any worker or its secrets')
    .action(async () => {
      const { runIngest } = await import('../app/run-ingest.ts')
      exitWith(await runIngest(configFile(program), catalog))
    })
  program
    .command('worker <name...>')
    .description('run the named workers in this process, with their secrets and nobody else’s')
    .action(async (names: readonly string[]) => {
      const { runWorkers } = await import('../app/worker.ts')
      exitWith(await runWorkers(configFile(program), names, catalog))
    })
}

/** All parts have stopped; what is left would be a forgotten timer, and must not hold up a restart. */
function exitWith(code: number): void {
  process.exitCode = code
  setTimeout(() => process.exit(code), 1_000).unref()
}
