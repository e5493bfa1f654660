import { isDeepStrictEqual } from 'node:util'
import { backlogPolicy } from '../config/backlog-schema.ts'
import type { SluiceSettings } from '../config/sluice-schema.ts'
import type { Clock } from '../core/clock.ts'
import type { Credential } from '../core/credential.ts'
import { SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import type { Queues } from '../core/queue.ts'
import type { Redactor } from '../core/redactor.ts'
import type { WorkerDefinition } from '../core/worker.ts'
import { startTrimming } from '../delivery/trim.ts'
import { createGate, type Gate } from '../delivery/gate.ts'
import { createWorkerRunner, type WorkerRunner, type WorkerState } from '../delivery/worker-runner.ts'
import { dropCounter } from './backlogs.ts'
import type { Catalog } from './catalog.ts'
import type { Tracer } from './tracer.ts'

export interface WorkersOptions {
  /** Where a worker's queues are. */
  readonly queuesOf: (worker: string) => Queues
  readonly settings: Pick<SluiceSettings, 'backlog' | 'queue'>
  readonly catalog: Catalog
  readonly redactor: Redactor
  readonly tracer: Tracer
  readonly log: Log
  readonly clock: Clock
  readonly metrics: Metrics
}

interface Running {
  readonly definition: WorkerDefinition
  readonly runner: WorkerRunner
  readonly stopTrimming: () => void
}

/** The workers of one process. They may be replaced one by one while the others go on. */
export class Workers {
  readonly #options: WorkersOptions
  readonly #running = new Map<string, Running>()
  /** One for the process: which message kills it can only be told when nothing else is being sent. */
  readonly #gate: Gate = createGate()
  #closed = false

  constructor(options: WorkersOptions) {
    this.#options = options
  }

  /**
   * Makes the running workers those of `definitions`: starts new ones, stops those that are gone, replaces those that have
   * changed. None waits for another. Queues are never touched: what a stopped worker left waits for the next.
   */
  async apply(definitions: Iterable<WorkerDefinition>, deadlineMs: number): Promise<void> {
    const wanted = new Map([...definitions].map((definition) => [definition.name, definition]))
    const leaving = [...this.#running].map(async ([name, { definition, runner }]) => {
      const next = wanted.get(name)
      if (next !== undefined && isSame(definition, next)) return
      await this.#stop(name, runner, deadlineMs)
      if (next !== undefined) this.#start(next)
    })
    for (const [name, definition] of wanted) if (!this.#running.has(name)) this.#start(definition)
    await Promise.all(leaving)
  }

  states(): ReadonlyMap<string, WorkerState> {
    return new Map([...this.#running].map(([name, { runner }]) => [name, runner.state()]))
  }

  async close(deadlineMs: number): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#running].map(([name, { runner }]) => this.#stop(name, runner, deadlineMs)))
  }

  #start(definition: WorkerDefinition): void {
    if (this.#closed) return
    const { catalog, tracer, queuesOf, settings, redactor, log, clock, metrics } = this.#options
    const forwarder = catalog.forwarders.find(({ kind }) => kind === definition.kind)
    if (forwarder === undefined)
      throw new SluiceError('CONFIG_INVALID', `worker ${definition.name} is of the unknown kind ${definition.kind}`)
    const queues = queuesOf(definition.name)
    const runner = createWorkerRunner({
      worker: definition,
      forwarder: tracer.traced(definition.name, forwarder),
      queues,
      openCredential: () => this.#openCredential(definition),
      redactor,
      log,
      clock,
      metrics,
      gate: this.#gate,
    })
    const { size } = definition.queue ?? settings.queue
    const stopTrimming = startTrimming({
      worker: definition.name,
      policy: backlogPolicy(settings.backlog, definition),
      queues,
      ...(size !== undefined && { size }),
      onDropped: dropCounter(metrics),
      log: log.with({ worker: definition.name }),
    })
    this.#running.set(definition.name, { definition, runner, stopTrimming })
    runner.start()
    log.info({ worker: definition.name, kind: definition.kind }, 'worker started')
  }

  async #stop(name: string, runner: WorkerRunner, deadlineMs: number): Promise<void> {
    this.#running.get(name)?.stopTrimming()
    await runner.close(deadlineMs)
    this.#running.delete(name)
    this.#options.log.info({ worker: name }, 'worker stopped')
  }

  async #openCredential({ name, credential }: WorkerDefinition): Promise<Credential | undefined> {
    if (credential === undefined) return undefined
    const { catalog, log } = this.#options
    const definition = catalog.credentials.find(({ type }) => type === credential.type)
    if (definition === undefined)
      throw new SluiceError('CREDENTIAL_FAILED', `there is no credential type ${credential.type}`)
    return definition.open(credential.settings, {
      log: log.with({ worker: name }),
      worker: name,
      signal: AbortSignal.timeout(30_000),
    })
  }
}

/** Whether a worker goes on as it is. Where it stands in its file doesn't matter to it. */
function isSame({ position: _running, ...running }: WorkerDefinition, next: WorkerDefinition): boolean {
  const { position: _next, ...wanted } = next
  return isDeepStrictEqual(running, wanted)
}
