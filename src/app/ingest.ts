import { join } from 'node:path'
import { type ControlPlane, openControl } from '../admin/control.ts'
import type { Config } from '../config/load.ts'
import { SluiceError, messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Problem } from '../core/problem.ts'
import type { Queues } from '../core/queue.ts'
import { createFailureTaker } from '../delivery/failures.ts'
import { createRuleFailureKeeper } from '../delivery/rule-failures.ts'
import { createAccept, type Door } from '../ingest/accept.ts'
import { createHttpDoor } from '../ingest/http.ts'
import { RateLimiter } from '../ingest/limits.ts'
import { createMqttBroker, type MqttBroker } from '../ingest/mqtt-broker.ts'
import type { ServedMetrics } from '../observe/metrics.ts'
import { createEnqueuer } from '../queue/group-commit.ts'
import { type Bridges, startBridges } from './bridges.ts'
import { createDeadLetters } from './dead-letters.ts'
import { type Lifecycle, Stopping } from './lifecycle.ts'
import { createReadiness } from './readiness.ts'
import type { RunningConfig } from './running-config.ts'
import { snapshotOf } from './snapshot.ts'
import { countOwner, type IngestStatus, orphansOf, type WorkerStatus } from './status.ts'
import type { Tracer } from './tracer.ts'
import { firstOrAll, WorkerSockets, type WorkerStates } from './worker-sockets.ts'

export interface IngestOptions {
  readonly running: RunningConfig
  readonly queues: Queues
  readonly log: Log
  readonly metrics: ServedMetrics
  readonly lifecycle: Lifecycle
  /** The answers of workers that run in this same process. */
  readonly tracer: Tracer
  /** States of workers that run in this same process; those elsewhere are unknown here. */
  readonly workerStates: () => WorkerStates
  /** What `sluice reload` asks for: this process' own, or that of all under one supervisor. */
  readonly reload: () => Promise<readonly Problem[]>
  /** Called when the process can't go on: the session of a bridge was taken over. */
  readonly fail: (error: Error) => void
  /** What to do when the embedded broker's port is taken; without it that is an error. */
  readonly brokerPortTaken?: (error: SluiceError) => void
}

const orphansAgainMs = 10_000

export interface Ingest {
  /** Where it takes messages, one line each. */
  readonly doors: readonly string[]
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
  const keeper = createRuleFailureKeeper({ queues, log, metrics })
  const enqueue = enqueuer.enqueue.bind(enqueuer)
  const doors: string[] = []
  let broker: MqttBroker | undefined
  let bridges: Bridges | undefined
  let isOpen = false
  let naming: NodeJS.Timeout | undefined
  const readiness = createReadiness(queues, () => isOpen && !lifecycle.isStopping)
  const workerSockets = new WorkerSockets(settings.data, ownWorkers)

  // Before the doors: where another Sluice serves this socket, the data folder is that one's. It closes after them.
  const control = await openControl(join(settings.data, 'control.sock'), plane(), log)
  lifecycle.add('control channel', (deadlineMs) => control.close(deadlineMs))
  lifecycle.add('enqueuer', () => enqueuer.close(), 2)

  const failures = createFailureTaker({ queues, owners: ownWorkers, rules, enqueue, log, metrics })
  lifecycle.add('failures', (deadlineMs) => failures.close(deadlineMs), 2)
  lifecycle.add('traces', () => options.tracer.close())
  failures.start()

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

  const closing: ((deadlineMs: number) => Promise<void>)[] = []
  // Doors close together: what one still has in hand is no reason for another to go on taking.
  lifecycle.add('doors', async (deadlineMs) => void (await Promise.all(closing.map((close) => close(deadlineMs)))), 4)
  if (settings.listen.http !== undefined) await openHttp(settings.listen.http)
  if (settings.listen.mqtt !== undefined) broker = await openBroker(settings.listen.mqtt)
  if (lifecycle.isStopping) throw new Stopping()
  bridges = startBridges({
    bridges: settings.bridges,
    payloadLimit: settings.limits.payload,
    accept: accept('bridge'),
    store: queues.store,
    log,
    metrics,
    fail: options.fail,
  })
  closing.push((deadlineMs) => bridges?.close(deadlineMs) ?? Promise.resolve())
  isOpen = true

  running.onChange((config) => {
    const next = snapshotOf(config, log, metrics)
    return async () => {
      snapshot = next
      log.info({ rules: config.rules.length, set: next.rules.hash }, 'rules and identities are in force')
      await Promise.all([failures.look(), broker?.recheck(), nameOrphans()])
    }
  })
  await nameOrphans()
  return { doors }

  function plane(): ControlPlane {
    return {
      ready: readiness,
      status,
      orphans: () => orphansOf(queues, new Set(ownWorkers())),
      metrics: async () => ({ contentType: metrics.contentType, page: await metricsPage() }),
      reload: async () => ({ problems: await options.reload() }),
      trace: (id, waitMs) =>
        firstOrAll(waitMs, (signal) => [
          options.tracer.find(id, waitMs, signal),
          ...workerSockets.traces(id, waitMs, signal),
        ]),
      deadLetters: createDeadLetters({ queues, workers: ownWorkers, rules, enqueue }),
    }
  }

  async function openHttp({ host, port }: { readonly host: string; readonly port: number }): Promise<void> {
    const { payload, batchMessages, batchBytes } = settings.limits
    const door = createHttpDoor({
      access,
      accept: accept('http'),
      ready: async () => (await readiness()).ready,
      limits: { payload, batchMessages, batchBytes },
      log,
      metrics,
    })
    await opened((deadlineMs) => door.close(deadlineMs), door.listen({ host, port }))
    doors.push(`http://${placeOf(door.address() ?? { host, port })}`)
  }

  /** A door that opens while everything stops is closed again: its turn to close has passed. */
  async function opened(close: (deadlineMs: number) => Promise<void>, listening: Promise<void>): Promise<void> {
    await listening
    closing.push(close)
    if (!lifecycle.isStopping) return
    await close(1_000)
    throw new Stopping()
  }

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
      await opened((deadlineMs) => door.close(deadlineMs), door.listen(where))
    } catch (error) {
      if (!(error instanceof SluiceError) || options.brokerPortTaken === undefined) throw error
      options.brokerPortTaken(error)
      return undefined
    }
    doors.push(`mqtt://${placeOf(door.address() ?? where)}`)
    return door
  }

  async function status(): Promise<IngestStatus> {
    const states = new Map([...(await workerSockets.states()), ...options.workerStates()])
    const ready = await readiness()
    return {
      ...ready,
      queue: queues.describe,
      doors,
      bridges: bridges?.states() ?? [],
      rules: snapshot.rules.rules.length,
      ruleSet: snapshot.rules.hash,
      // What can't be counted now isn't shown as nothing.
      workers: await countAll(states).catch(() => []),
    }
  }

  async function countAll(states: WorkerStates): Promise<readonly WorkerStatus[]> {
    const names = new Set([...ownWorkers(), ...(await queues.owners())])
    return Promise.all(
      [...names].toSorted().map((name) => countOwner(queues, name, stateOf(name, snapshot.config, states))),
    )
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

  /** Where the queue is away, they are named when it is back. */
  async function nameOrphans(): Promise<void> {
    clearTimeout(naming)
    try {
      for (const { owner, messages } of await orphansOf(queues, new Set(ownWorkers()))) {
        log.warn(
          { worker: owner, envelopes: messages },
          'a queue holds messages of a worker that no file in workers/ owns; they wait',
        )
      }
    } catch (error) {
      log.debug({ error: messageOf(error) }, 'the queues could not be looked at')
      if (!lifecycle.isStopping) naming = setTimeout(() => void nameOrphans(), orphansAgainMs).unref()
    }
  }
}

function stateOf(name: string, { workers }: Config, states: WorkerStates): string {
  const { state, reason } = states.get(name) ?? {}
  if (state !== undefined) return reason === undefined ? state : `${state}: ${reason}`
  if (name.startsWith('rule:')) return 'a rule'
  return workers.has(name) ? 'in another process' : 'no file owns it'
}

function placeOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}
