import { relative } from 'node:path'
import type { Config } from '../config/load.ts'
import { referencedVariables } from '../config/referenced-variables.ts'
import type { SluiceError } from '../core/errors.ts'
import { Redactor } from '../core/redactor.ts'
import { environment } from '../secrets/environment.ts'
import type { Catalog } from './catalog.ts'
import { readConfiguration, requireConfiguration } from './configuration.ts'
import { startIngest } from './ingest.ts'
import { openQueues } from './queues.ts'
import { RunningConfig } from './running-config.ts'
import { createRuntime, type Runtime } from './runtime.ts'
import { type Role, Supervisor } from './supervisor.ts'
import { Tracer } from './tracer.ts'
import { makeTryOutIdentity } from './try-out.ts'
import { Workers } from './workers.ts'

/** `sluice start`: everything that the configuration names. Resolves with the exit code. */
export async function runEverything(file: string, catalog: Catalog): Promise<number> {
  const redactor = new Redactor()
  const read = () => readConfiguration({ file, role: { kind: 'everything' }, catalog, redactor })
  let config = await requireConfiguration({ file, role: { kind: 'everything' }, catalog, redactor })
  const runtime = createRuntime(config.settings, redactor)
  const isFirst = await makeTryOutIdentity(config, runtime.log)
  if (isFirst) config = await requireConfiguration({ file, role: { kind: 'everything' }, catalog, redactor })
  const running = new RunningConfig(config, read, runtime.log)
  if (config.settings.queue.url === 'embedded') await startHere(running, redactor, catalog, runtime, isFirst)
  else startProcesses(running, runtime)
  runtime.lifecycle.add('reload', () => running.close())
  running.watch()
  return runtime.ended
}

/** The embedded queue has one holder, so ingest and workers share this process. */
async function startHere(
  running: RunningConfig,
  redactor: Redactor,
  catalog: Catalog,
  runtime: Runtime,
  isFirst: boolean,
): Promise<void> {
  const { log, metrics, lifecycle, fail } = runtime
  const { settings, workers: definitions } = running.current
  const queues = await openQueues(settings, log)
  lifecycle.add('queue', () => queues.close())
  const tracer = new Tracer()
  const workers = new Workers({ queues, catalog, redactor, tracer, log, metrics })
  lifecycle.add('workers', (deadlineMs) => workers.close(deadlineMs))
  await workers.apply(definitions.values(), settings.shutdown)
  const { doors } = await startIngest({
    running,
    queues,
    log,
    metrics,
    lifecycle,
    tracer,
    workerStates: () => workers.states(),
    fail,
    brokerPortTaken: (error) => sayHowToBridge(error, settings.listen.mqtt?.port ?? 1883, runtime),
  })
  running.onChange((config) => workers.apply(config.workers.values(), settings.shutdown))
  log.info(
    { queue: queues.describe },
    'one process holds the embedded queue, so the workers’ credentials are in it too; on Redis each worker has a process of its own',
  )
  if (settings.listen.mqtt !== undefined)
    log.info({}, 'the embedded broker keeps sessions and retained messages in memory: they end with this process')
  for (const door of doors) log.info({ at: door }, 'listening')
  log.info(
    {
      rules: running.current.rules.length,
      workers: definitions.size,
      config: relative(process.cwd(), running.current.file),
    },
    'ready',
  )
  if (isFirst) sayWhatNext()
}

/** On Redis: ingest and each worker in a process of its own, with the variables of its own files. This one holds no queue. */
function startProcesses(running: RunningConfig, { log, lifecycle }: Runtime): void {
  const { settings, file } = running.current
  const supervisor = new Supervisor(file, environment(), log)
  lifecycle.add('processes', (deadlineMs) => supervisor.close(deadlineMs))
  const apply = (config: Config) => supervisor.apply(rolesOf(config), settings.shutdown)
  apply(running.current)
  running.onChange(apply)
}

function rolesOf(config: Config): readonly Role[] {
  const { settings, file, workers } = config
  const shared = referencedVariables([file])
  const ingest: Role = {
    name: 'ingest',
    parameters: ['ingest'],
    variables: [...shared, ...referencedVariables([settings.identity])],
  }
  return [
    ingest,
    ...[...workers.values()].map(({ name, position, credential }): Role => ({
      name: `worker ${name}`,
      parameters: ['worker', name],
      variables: [
        ...shared,
        ...referencedVariables([position.file]),
        ...(credential?.type === 'aws-default' ? awsVariables : []),
      ],
    })),
  ]
}

/** What AWS's default chain reads; only a worker that asks for that chain gets it. */
const awsVariables = [
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'AWS_PROFILE',
  'AWS_REGION',
  'AWS_DEFAULT_REGION',
  'AWS_ROLE_ARN',
  'AWS_WEB_IDENTITY_TOKEN_FILE',
  'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI',
  'AWS_CONTAINER_CREDENTIALS_FULL_URI',
  'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE',
  'AWS_CONFIG_FILE',
  'AWS_SHARED_CREDENTIALS_FILE',
]

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
