import { openControl } from '../admin/control.ts'
import type { Config } from '../config/load.ts'
import { SluiceError } from '../core/errors.ts'
import type { Queues } from '../core/queue.ts'
import { Redactor } from '../core/redactor.ts'
import type { Catalog } from './catalog.ts'
import { readConfiguration, requireConfiguration } from './configuration.ts'
import { type Opener, openOwnQueues, openSharedQueues } from './queues.ts'
import { createReadiness } from './readiness.ts'
import { RunningConfig } from './running-config.ts'
import { createRuntime } from './runtime.ts'
import { sayWhenReady } from './say-ready.ts'
import { Tracer } from './tracer.ts'
import { workerSocket } from './worker-sockets.ts'
import { Workers } from './workers.ts'

export { workerSocket } from './worker-sockets.ts'

/**
 * Runs the named workers in this process, with their secrets and nobody else's: it reads sluice.yaml without its doors, and
 * their files. Resolves with the exit code.
 */
export async function runWorkers(file: string, names: readonly string[], catalog: Catalog): Promise<number> {
  const redactor = new Redactor()
  const options = { file, role: { kind: 'workers', names }, catalog, redactor } as const
  const { settings } = await requireConfiguration(options)
  const runtime = createRuntime(settings, redactor)
  const { log, metrics, lifecycle, supervisor } = runtime
  return runtime.run(async () => {
    const watch = supervisor === undefined
    const running = await RunningConfig.open({ settings, read: () => readConfiguration(options), log, watch })
    lifecycle.add('watch', () => running.close())
    const { queuesOf, all } = await openFor(running.current, { role: 'worker', log, clock: runtime.clock })
    lifecycle.add('queue', async () => void (await Promise.all(all.map((queues) => queues.close()))))
    const tracer = new Tracer()
    const workers = new Workers({ queuesOf, settings, catalog, redactor, tracer, log, clock: runtime.clock, metrics })
    const ping = async () => void (await Promise.all(all.map((queues) => queues.ping())))
    const readiness = createReadiness({ ping }, () => !lifecycle.isStopping)
    const reload = supervisor === undefined ? () => running.reload() : () => supervisor.askReload()
    const elsewhere = () => Promise.reject(new SluiceError('WRONG_USE', 'this is a worker; ask its ingest'))
    const plane = {
      ready: readiness,
      status: async () => Object.fromEntries(workers.states()),
      orphans: elsewhere,
      ledger: elsewhere,
      metrics: async () => ({ contentType: metrics.contentType, page: await metrics.page() }),
      reload: async () => ({ problems: await reload() }),
      trace: (id: string, waitMs: number) => tracer.find(id, waitMs),
      policy: { simulate: elsewhere, effective: elsewhere },
      certificates: { list: elsewhere, show: elsewhere, act: elsewhere },
      deadLetters: { list: elsewhere, show: elsewhere, replay: elsewhere, purge: elsewhere },
    }
    // Before the workers: where another process serves this socket, it runs them.
    const control = await openControl(workerSocket(settings.data, names[0] ?? ''), plane, log)
    lifecycle.add('control channel', (deadlineMs) => control.close(deadlineMs))
    lifecycle.add('workers', (deadlineMs) => workers.close(deadlineMs), 4)
    lifecycle.add('traces', () => tracer.close())
    await workers.apply(running.current.workers.values(), settings.shutdown)
    running.onChange((changed) => () => workers.apply(changed.workers.values(), settings.shutdown))
    lifecycle.add('reload', () => running.close())
    runtime.onReloadAsked(() => running.reload())
    running.begin()
    const describe = () => all.map((queues) => queues.describe).join('; ')
    sayWhenReady({ log, lifecycle, readiness, facts: () => ({ workers: names, queue: describe() }) })
    supervisor?.sayReady()
  })
}

/** Opens what these workers need and nothing else: where each has a queue of its own, the one that others share is not touched. */
async function openFor({ settings, workers }: Config, opener: Opener) {
  const own = await openOwnQueues(workers.values(), opener)
  const shared = own.size === workers.size ? undefined : await openSharedQueues(settings, opener)
  const queuesOf = (worker: string): Queues => {
    const queues = own.get(worker) ?? shared
    // A reload can't bring this about: whose queue is where is settled at the start.
    if (queues === undefined) throw new SluiceError('CONFIG_INVALID', `the queue of worker ${worker} is not open`)
    return queues
  }
  return { queuesOf, all: [...own.values(), ...(shared === undefined ? [] : [shared])] }
}
