import { join } from 'node:path'
import { openControl } from '../admin/control.ts'
import { SluiceError } from '../core/errors.ts'
import { Redactor } from '../core/redactor.ts'
import type { Catalog } from './catalog.ts'
import { readConfiguration, requireConfiguration } from './configuration.ts'
import { openQueues } from './queues.ts'
import { createReadiness } from './readiness.ts'
import { RunningConfig } from './running-config.ts'
import { createRuntime } from './runtime.ts'
import { Tracer } from './tracer.ts'
import { Workers } from './workers.ts'

/** The control socket of a worker's process: health, metrics and traces; the operating is ingest's. */
export function workerSocket(dataFolder: string, name: string): string {
  return join(dataFolder, `worker-${name}.sock`)
}

/**
 * Runs the named workers in this process, with their secrets and nobody else's: it reads sluice.yaml without its doors, and
 * their files. Resolves with the exit code.
 */
export async function runWorkers(file: string, names: readonly string[], catalog: Catalog): Promise<number> {
  const redactor = new Redactor()
  const options = { file, role: { kind: 'workers', names }, catalog, redactor } as const
  const config = await requireConfiguration(options)
  const { settings } = config
  for (const name of names) {
    if (!config.workers.has(name))
      throw new SluiceError('WRONG_USE', `no file in ${settings.workers} makes a worker "${name}"`)
  }
  const { log, metrics, lifecycle, ended } = createRuntime(settings, redactor)
  const queues = await openQueues(settings, log, 'worker')
  lifecycle.add('queue', () => queues.close())
  const tracer = new Tracer()
  const workers = new Workers({ queues, catalog, redactor, tracer, log, metrics })
  lifecycle.add('workers', (deadlineMs) => workers.close(deadlineMs))
  await workers.apply(config.workers.values(), settings.shutdown)

  const running = new RunningConfig(config, () => readConfiguration(options), log)
  lifecycle.add('reload', () => running.close())
  running.onChange((changed) => workers.apply(changed.workers.values(), settings.shutdown))
  running.watch()

  const readiness = createReadiness(queues)
  const elsewhere = () => Promise.reject(new SluiceError('WRONG_USE', 'this is a worker; ask its ingest'))
  const plane = {
    ready: readiness,
    status: async () => Object.fromEntries(workers.states()),
    orphans: elsewhere,
    metrics: async () => ({ contentType: metrics.contentType, page: await metrics.page() }),
    reload: async () => ({ problems: await running.reload() }),
    trace: (id: string, waitMs: number) => tracer.find(id, waitMs),
    deadLetters: { list: elsewhere, show: elsewhere, replay: elsewhere, purge: elsewhere },
  }
  const control = await openControl(workerSocket(settings.data, names[0] ?? ''), plane, log)
  lifecycle.add('control channel', () => control.close())
  log.info({ workers: names, queue: queues.describe }, 'ready')
  return ended
}
