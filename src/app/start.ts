import { relative } from 'node:path'
import type { SluiceError } from '../core/errors.ts'
import { Redactor } from '../core/redactor.ts'
import { environment } from '../secrets/environment.ts'
import type { Catalog } from './catalog.ts'
import { readConfiguration, requireConfiguration } from './configuration.ts'
import { startIngest } from './ingest.ts'
import { openQueues } from './queues.ts'
import { rolesOf } from './roles.ts'
import { RunningConfig } from './running-config.ts'
import { createRuntime, type Runtime } from './runtime.ts'
import { sayWhenReady } from './say-ready.ts'
import { Supervisor } from './supervisor.ts'
import { Tracer } from './tracer.ts'
import { makeTryOutIdentity } from './try-out.ts'
import { Workers } from './workers.ts'

/** Beyond the time its processes have for their stop, what the supervisor needs to kill those that don't. */
const killingMs = 5_000

interface Parts {
  readonly running: RunningConfig
  readonly redactor: Redactor
  readonly catalog: Catalog
  readonly runtime: Runtime
  /** Whether an identity to try things out with has just been made. */
  readonly isFirst: boolean
}

/** `sluice start`: everything that the configuration names. Resolves with the exit code. */
export async function runEverything(file: string, catalog: Catalog): Promise<number> {
  const redactor = new Redactor()
  const options = { file, role: { kind: 'everything' }, catalog, redactor } as const
  const config = await requireConfiguration(options)
  const { settings } = config
  const isOne = settings.queue.url === 'embedded'
  const runtime = createRuntime(isOne ? settings : { ...settings, shutdown: settings.shutdown + killingMs }, redactor)
  const { log, lifecycle } = runtime
  return runtime.run(async () => {
    const isFirst = await makeTryOutIdentity(config, log)
    const { files } = isFirst ? (await requireConfiguration(options)).directory : config.directory
    const running = await RunningConfig.open({
      settings,
      files,
      read: () => readConfiguration(options),
      log,
      watch: true,
    })
    lifecycle.add('watch', () => running.close())
    const parts = { running, redactor, catalog, runtime, isFirst }
    await (isOne ? startHere(parts) : startProcesses(parts))
    // Reloads end before the parts that they change.
    lifecycle.add('reload', () => running.close())
    running.begin()
  })
}

/** The embedded queue has one holder, so ingest and workers share this process. */
async function startHere({ running, redactor, catalog, runtime, isFirst }: Parts): Promise<void> {
  const { log, metrics, lifecycle, fail } = runtime
  const { settings, workers: definitions, rules, file } = running.current
  const queues = await openQueues(settings, definitions.values(), { role: 'ingest', log, clock: runtime.clock })
  lifecycle.add('queue', () => queues.close())
  const tracer = new Tracer()
  const queuesOf = (worker: string) => queues.of(worker)
  const workers = new Workers({ queuesOf, settings, catalog, redactor, tracer, log, clock: runtime.clock, metrics })
  lifecycle.add('workers', (deadlineMs) => workers.close(deadlineMs), 4)
  await workers.apply(definitions.values(), settings.shutdown)
  const { doors, readiness } = await startIngest({
    running,
    queues,
    log,
    metrics,
    lifecycle,
    tracer,
    workerStates: () => workers.states(),
    reload: () => running.reload(),
    fail,
    brokerPortTaken: (error) => sayHowToBridge(error, settings.listen.mqtt?.port ?? 1883, runtime),
  })
  running.onChange((config) => () => workers.apply(config.workers.values(), settings.shutdown))
  log.info(
    { queue: queues.describe },
    'one process holds the embedded queue, so the workers’ credentials are in it too; on Redis each worker has a process of its own',
  )
  for (const door of doors) log.info({ at: door }, 'listening')
  const facts = () => ({ rules: rules.length, workers: definitions.size, config: relative(process.cwd(), file) })
  sayWhenReady({ log, lifecycle, readiness, facts })
  if (isFirst) sayWhatNext()
}

/**
 * On Redis: ingest and each worker in a process of its own, with the variables that it resolves. This one holds no queue; it
 * reads all files and says when the others reload, so that a problem in one file keeps all of them as they are.
 */
async function startProcesses({ running, catalog, runtime, isFirst }: Parts): Promise<void> {
  const { log, lifecycle, fail, onImpatience } = runtime
  const { settings, file } = running.current
  const supervisor = new Supervisor({
    configFile: file,
    environment: environment(),
    log,
    shutdownMs: settings.shutdown,
    reload: () => running.reload(),
    giveUp: (reason) => fail(new Error(reason)),
  })
  onImpatience(() => supervisor.kill())
  const roles = await rolesOf(running.current, catalog)
  lifecycle.add('processes', () => supervisor.close(), 20)
  supervisor.apply(roles)
  running.onChange(async (config) => {
    const next = await rolesOf(config, catalog)
    return () => {
      supervisor.apply(next)
      return supervisor.reload()
    }
  })
  // Not awaited: a process that never gets ready must not keep this one from stopping.
  void supervisor.ready().then(() => {
    log.info({ processes: roles.length }, 'all processes have started')
    if (isFirst) sayWhatNext()
  })
}

function sayHowToBridge(error: SluiceError, port: number, { log }: Runtime): void {
  log.warn({ error: error.message }, 'started without the embedded broker')
  process.stderr.write(
    [
      '',
      `To take messages from the broker that has the port, put these four lines into sluice.yaml (and take listen.mqtt out):`,
      '',
      'bridges:',
      '  - name: local',
      `    url: mqtt://127.0.0.1:${port}`,
      "    topics: ['#']",
      '',
      '',
    ].join('\n'),
  )
}

function sayWhatNext(): void {
  const next = `npx sluice publish buildings/b1/rooms/7/climate '{"celsius":31,"status":"ok"}'`
  process.stdout.write(
    `\nAn identity to try things out with was made (identity/try-out.yaml). Next, in another terminal:\n\n  ${next}\n\n`,
  )
}
