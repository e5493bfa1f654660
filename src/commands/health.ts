import type { Command } from 'commander'
import { callSocket, controlSocket, dataFolder } from './context.ts'

export function addHealth(program: Command): void {
  program
    .command('health')
    .description('exit 0 when a running ingest (or worker) is ready, 1 when not: for health checks of containers')
    .option('--worker <name>', 'ask the process of this worker instead of the ingest')
    .action(async ({ worker }: { worker?: string }) => {
      const data = await dataFolder(program)
      const socket =
        worker === undefined ? controlSocket(data) : (await import('../app/worker.ts')).workerSocket(data, worker)
      const { status, body } = await callSocket(socket, 'GET', '/readyz')
      if (status === 200) return console.log('ready')
      console.error(`not ready: ${(body as { because?: string }).because ?? 'no reason given'}`)
      process.exitCode = 1
    })
}
