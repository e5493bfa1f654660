import { Redactor } from '../core/redactor.ts'
import type { Catalog } from './catalog.ts'
import { readConfiguration, requireConfiguration } from './configuration.ts'
import { startIngest } from './ingest.ts'
import { openQueues } from './queues.ts'
import { RunningConfig } from './running-config.ts'
import { createRuntime } from './runtime.ts'
import { Tracer } from './tracer.ts'

/** `sluice ingest`: the doors without any worker. Resolves with the exit code. */
export async function runIngest(file: string, catalog: Catalog): Promise<number> {
  const redactor = new Redactor()
  const options = { file, role: { kind: 'ingest' }, catalog, redactor } as const
  const config = await requireConfiguration(options)
  const { log, metrics, lifecycle, ended, fail } = createRuntime(config.settings, redactor)
  const queues = await openQueues(config.settings, log)
  lifecycle.add('queue', () => queues.close())
  const running = new RunningConfig(config, () => readConfiguration(options), log)
  const { doors } = await startIngest({
    running,
    queues,
    log,
    metrics,
    lifecycle,
    tracer: new Tracer(),
    workerStates: () => new Map(),
    fail,
  })
  lifecycle.add('reload', () => running.close())
  running.watch()
  for (const door of doors) log.info({ at: door }, 'listening')
  log.info({ rules: config.rules.length, queue: queues.describe }, 'ready')
  return ended
}
