import { Redactor } from '../core/redactor.ts'
import type { Catalog } from './catalog.ts'
import { readConfiguration, requireConfiguration } from './configuration.ts'
import { startIngest } from './ingest.ts'
import { openQueues } from './queues.ts'
import { RunningConfig } from './running-config.ts'
import { createRuntime } from './runtime.ts'
import { sayWhenReady } from './say-ready.ts'
import { Tracer } from './tracer.ts'

/** `sluice ingest`: the doors without any worker. Resolves with the exit code. */
export async function runIngest(file: string, catalog: Catalog): Promise<number> {
  const redactor = new Redactor()
  const options = { file, role: { kind: 'ingest' }, catalog, redactor } as const
  const { settings, directory } = await requireConfiguration(options)
  const runtime = createRuntime(settings, redactor)
  const { log, metrics, lifecycle, supervisor, fail } = runtime
  return runtime.run(async () => {
    const watch = supervisor === undefined
    const running = await RunningConfig.open({
      settings,
      files: directory.files,
      read: () => readConfiguration(options),
      log,
      watch,
    })
    lifecycle.add('watch', () => running.close())
    const opener = { role: 'ingest', log, clock: runtime.clock } as const
    const queues = await openQueues(settings, running.current.workers.values(), opener)
    lifecycle.add('queue', () => queues.close())
    const { doors, readiness } = await startIngest({
      running,
      queues,
      log,
      metrics,
      lifecycle,
      tracer: new Tracer(),
      workerStates: () => new Map(),
      reload: supervisor === undefined ? () => running.reload() : () => supervisor.askReload(),
      fail,
    })
    lifecycle.add('reload', () => running.close())
    runtime.onReloadAsked(() => running.reload())
    running.begin()
    for (const door of doors) log.info({ at: door }, 'listening')
    const facts = () => ({ rules: running.current.rules.length, queue: queues.describe })
    sayWhenReady({ log, lifecycle, readiness, facts })
    supervisor?.sayReady()
  })
}
