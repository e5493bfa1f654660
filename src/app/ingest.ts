import { join } from 'node:path'
import { openControl } from '../admin/control.ts'
import type { Config } from '../config/load.ts'
import type { Access } from '../core/access.ts'
import { SluiceError, messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import type { Queues } from '../core/queue.ts'
import type { RuleSet } from '../core/rule.ts'
import { createFailureTaker } from '../delivery/failures.ts'
import { createRuleFailureKeeper } from '../delivery/rule-failures.ts'
import { createAccept, type Door } from '../ingest/accept.ts'
import { createHttpDoor } from '../ingest/http.ts'
import { RateLimiter } from '../ingest/limits.ts'
import { createMqttBroker, type MqttBroker } from '../ingest/mqtt-broker.ts'
import type { ServedMetrics } from '../observe/metrics.ts'
import { createEnqueuer } from '../queue/group-commit.ts'
import { compileRules } from '../rules/engine.ts'
import { createAccess } from './access.ts'
import { bridgePrincipal, startBridges } from './bridges.ts'
import { createDeadLetters } from './dead-letters.ts'
import type { Lifecycle } from './lifecycle.ts'
import { createReadiness } from './readiness.ts'
import type { RunningConfig } from './running-config.ts'
import { countOwner, type IngestStatus, orphansOf } from './status.ts'
import type { Tracer } from './tracer.ts'

export interface IngestOptions {
  readonly running: RunningConfig
  readonly queues: Queues
  readonly log: Log
  readonly metrics: ServedMetrics
  readonly lifecycle: Lifecycle
  /** The answers of workers that run in this same process. */
  readonly tracer: Tracer
  /** States of workers that run in this same process; those elsewhere are unknown here. */
  readonly workerStates: () => ReadonlyMap<string, { readonly state: string; readonly reason?: string }>
  /** Called when the process can't go on: the session of a bridge was taken over. */
  readonly fail: (error: Error) => void
  /** What to do when the embedded broker's port is taken; without it that is an error. */
  readonly brokerPortTaken?: (error: SluiceError) => void
}

export interface Ingest {
  /** Where it takes messages, one line each. */
  readonly doors: readonly string[]
}

/** What a reload replaces, all of it at once. */
interface Snapshot {
  readonly config: Config
  readonly access: Access
  readonly rules: RuleSet
}

/** Starts the part that owns the doors, the identities and the rules, and no downstream secret. Everything it starts stops with `lifecycle`. */
export async function startIngest(options: IngestOptions): Promise<Ingest> {
  const { running, queues, log, metrics, lifecycle } = options
  const { settings } = running.current
  let snapshot = snapshotOf(running.current, log, metrics)
  const access = () => snapshot.access
  const rules = () => snapshot.rules
  const ownWorkers = () => [...snapshot.config.workers.keys()]

  const enqueuer = createEnqueuer(queues, {
    messagesPerEnvelope: settings.queue.envelope.messages,
    bytesPerEnvelope: settings.queue.envelope.bytes,
    keepsOutput: (worker) => snapshot.config.workers.get(worker)?.keep === 'output',
    metrics,
  })
  lifecycle.add('enqueuer', () => enqueuer.close())
  const keeper = createRuleFailureKeeper({ queues, log, metrics })
  const enqueue = enqueuer.enqueue.bind(enqueuer)

  const failures = createFailureTaker({ queues, owners: ownWorkers, rules, enqueue, log, metrics })
  failures.start()
  lifecycle.add('failures', (deadlineMs) => failures.close(deadlineMs))

  const limiter = new RateLimiter(settings.limits)
  const limits = {
    bytes: settings.limits.topicBytes,
    levels: settings.limits.topicLevels,
    payload: settings.limits.payload,
  }
  const accept = (door: Door) =>
    createAccept(door, {
      access,
      rules,
      enqueue,
      keepFailed: (message, rule, reason) => keeper.keep(message, rule, reason),
      limiter,
      limits,
      log,
      metrics,
    })

  const readiness = createReadiness(queues)
  const doors: string[] = []
  if (settings.listen.http !== undefined) {
    const { host, port } = settings.listen.http
    const { payload, batchMessages, batchBytes } = settings.limits
    const door = createHttpDoor({
      access,
      accept: accept('http'),
      ready: async () => (await readiness()).ready,
      limits: { payload, batchMessages, batchBytes },
      log,
      metrics,
    })
    await door.listen({ host, port })
    lifecycle.add('http', (deadlineMs) => door.close(deadlineMs))
    doors.push(`http://${placeOf(door.address() ?? { host, port })}`)
  }
  const broker = settings.listen.mqtt === undefined ? undefined : await openBroker(settings.listen.mqtt)
  const bridges = await startBridges({
    bridges: settings.bridges,
    accept: accept('bridge'),
    store: queues.store,
    log,
    metrics,
    fail: options.fail,
  })
  lifecycle.add('bridges', (deadlineMs) => bridges.close(deadlineMs))

  running.onChange(async (config) => {
    snapshot = snapshotOf(config, log, metrics)
    await Promise.all([failures.look(), broker?.recheck()])
    log.info({ rules: config.rules.length, set: snapshot.rules.hash }, 'rules and identities are in force')
    await nameOrphans()
  })
  await nameOrphans()

  const deadLetters = createDeadLetters({ queues, workers: ownWorkers, rules, enqueue })
  const control = await openControl(
    join(settings.data, 'control.sock'),
    {
      ready: readiness,
      status,
      orphans: () => orphansOf(queues, new Set(ownWorkers())),
      metrics: async () => ({ contentType: metrics.contentType, page: await metricsPage() }),
      reload: async () => ({ problems: await running.reload() }),
      trace: (id, waitMs) => options.tracer.find(id, waitMs),
      deadLetters,
    },
    log,
  )
  lifecycle.add('control channel', () => control.close())
  return { doors }

  async function openBroker(where: { readonly host: string; readonly port: number }): Promise<MqttBroker | undefined> {
    const { payload, connections } = settings.limits
    // Room for the topic and the header beside the largest payload.
    const door = await createMqttBroker({
      access,
      accept: accept('mqtt'),
      limits: { publishBytes: payload + 70_000, clients: connections },
      log,
      metrics,
    })
    try {
      await door.listen(where)
    } catch (error) {
      if (!(error instanceof SluiceError) || options.brokerPortTaken === undefined) throw error
      options.brokerPortTaken(error)
      return undefined
    }
    lifecycle.add('mqtt', (deadlineMs) => door.close(deadlineMs))
    doors.push(`mqtt://${placeOf(door.address() ?? where)}`)
    return door
  }

  async function status(): Promise<IngestStatus> {
    const here = options.workerStates()
    const names = new Set([...ownWorkers(), ...(await queues.owners())])
    const workers = [...names].toSorted().map((name) => {
      const state = here.get(name)
      const elsewhere = name.startsWith('rule:')
        ? 'a rule'
        : snapshot.config.workers.has(name)
          ? 'in another process'
          : 'no file owns it'
      return countOwner(
        queues,
        name,
        state === undefined ? elsewhere : state.reason === undefined ? state.state : `${state.state}: ${state.reason}`,
      )
    })
    return {
      ...(await readiness()),
      queue: queues.describe,
      doors,
      bridges: bridges.states(),
      rules: snapshot.rules.rules.length,
      ruleSet: snapshot.rules.hash,
      workers: await Promise.all(workers),
    }
  }

  async function metricsPage(): Promise<string> {
    // Counted when somebody asks: on the embedded queue counting costs more than a look at a variable.
    for (const worker of ownWorkers()) {
      const counts = await queues.counts({ owner: worker, part: 'work' }).catch(() => undefined)
      for (const [state, value] of Object.entries(counts ?? {}))
        metrics.set('sluice_queue_entries', { worker, state }, value)
    }
    return metrics.page()
  }

  async function nameOrphans(): Promise<void> {
    try {
      for (const { owner, messages } of await orphansOf(queues, new Set(ownWorkers()))) {
        log.warn(
          { worker: owner, envelopes: messages },
          'a queue holds messages of a worker that no file in workers/ owns; they wait',
        )
      }
    } catch (error) {
      log.debug({ error: messageOf(error) }, 'the queues could not be looked at')
    }
  }
}

function snapshotOf(config: Config, log: Log, metrics: Metrics): Snapshot {
  const bridges = config.settings.bridges.map(({ name, topics, policies }) => ({
    principal: bridgePrincipal(name),
    topics,
    ...(policies !== undefined && { policies }),
  }))
  return {
    config,
    access: createAccess({ directory: config.directory, bridges, arn: config.settings.arn, log, metrics }),
    rules: compileRules(config.rules, { kindOf: (worker) => config.workers.get(worker)?.kind }),
  }
}

function placeOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}
