import { join } from 'node:path'
import { type ControlPlane, openControl } from '../admin/control.ts'
import type { Config } from '../config/load.ts'
import type { Principal } from '../core/access.ts'
import { type SluiceError, messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Problem } from '../core/problem.ts'
import { kindOfOwner } from '../core/owner.ts'
import type { RuleSet } from '../core/rule.ts'
import { createFailureTaker } from '../delivery/failures.ts'
import { deadLetterOfRuleFailure } from '../delivery/ingest-letters.ts'
import { createLedger } from '../delivery/ledger.ts'
import { createLetterKeeper } from '../delivery/letter-keeper.ts'
import { type AcceptOptions, createAccept, createAcceptBatch, type Door } from '../ingest/accept.ts'
import { createAnnouncer } from '../ingest/announcer.ts'
import { RateLimiter } from '../ingest/limits.ts'
import { createFloodGuard } from '../identity/flood-guard.ts'
import { openStoreRecords } from '../identity/store-records.ts'
import type { ServedMetrics } from '../observe/metrics.ts'
import type { DividedQueues } from '../queue/divided.ts'
import { createEnqueuer } from '../queue/group-commit.ts'
import { createAuthSupport } from './auth-support.ts'
import { openBacklogs } from './backlogs.ts'
import { type Bridges, startBridges } from './bridges.ts'
import { createDeadLetters } from './dead-letters.ts'
import { createCertificatePlane } from './certificates.ts'
import { type Doors, openDoors } from './doors.ts'
import { guardedAccess } from './guarded-access.ts'
import { createLedgerMetrics } from './ledger-metrics.ts'
import { type Lifecycle, Stopping } from './lifecycle.ts'
import { sayWhatIsLeft } from './own-places.ts'
import { createReadiness, type Readiness } from './readiness.ts'
import type { RunningConfig } from './running-config.ts'
import { effectivePolicies, readSimulation, simulate } from './simulate.ts'
import { asksVia, readViaSimulation, simulateVia } from './simulate-via.ts'
import { snapshotOf } from './snapshot.ts'
import { countOwner, type IngestStatus, leftBehind, type Orphan, orphansOf, type WorkerStatus } from './status.ts'
import type { Tracer } from './tracer.ts'
import { firstOrAll, WorkerSockets, type WorkerStates } from './worker-sockets.ts'

export interface IngestOptions {
  readonly running: RunningConfig
  readonly queues: DividedQueues
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
  readonly readiness: () => Promise<Readiness>
}

/** Starts the part that owns the doors, the identities and the rules, and no downstream secret. Everything it starts stops with `lifecycle`. */
export async function startIngest(options: IngestOptions): Promise<Ingest> {
  const { running, queues, log, metrics, lifecycle } = options
  const { settings } = running.current
  const records = await openStoreRecords({ store: queues.store, log })
  lifecycle.add('records', () => records.close())
  const support = createAuthSupport({
    store: queues.store,
    records,
    announce: (topic, payload) => announcer.announce(topic, payload),
    log,
  })
  lifecycle.add('auth methods', () => support.close())
  const first = support.next()
  let snapshot = snapshotOf(running.current, first.identities, metrics)
  first.inForce()
  metrics.set('sluice_rules', {}, snapshot.rules.rules.length)
  if (snapshot.rules.rules.length === 0)
    log.warn({ folder: settings.rules }, 'there are no rules: what is accepted goes nowhere')
  const access = () => snapshot.access
  const guard = createFloodGuard({ limits: settings.limits.authentication, log })
  lifecycle.add('flood guard', () => guard.close())
  const guarded = guardedAccess(access, guard)
  const rules = () => snapshot.rules
  const ownWorkers = () => [...snapshot.config.workers.keys()]

  const enqueuer = createEnqueuer(queues, {
    messagesPerEnvelope: settings.queue.envelope.messages,
    bytesPerEnvelope: settings.queue.envelope.bytes,
    keepsOutput: (worker) => snapshot.config.workers.get(worker)?.keep === 'output',
    metrics,
    adding: (worker, bytes) => room.adding(worker, bytes),
  })
  const setLedgerMetrics = createLedgerMetrics(queues, metrics)
  const ledger = createLedger({ queues, workers: ownWorkers, log })
  const { room, onDropped } = await openBacklogs({
    queues,
    settings,
    workers: () => snapshot.config.workers,
    log,
    metrics,
    lifecycle,
  })
  const keeper = createLetterKeeper({
    queues,
    // What a bridge's devices are refused must not stop the bridge; what a rule fails on was let in, and none of it falls out.
    isBounded: (owner) => kindOfOwner(owner) === 'bridge',
    adding: (owner, bytes) => room.adding(owner, bytes),
    log,
    metrics,
  })
  const enqueue = enqueuer.enqueue.bind(enqueuer)
  let doors: Doors | undefined
  let bridges: Bridges | undefined
  let isOpen = false
  let naming: NodeJS.Timeout | undefined
  const readiness = createReadiness(
    queues,
    () => isOpen && !lifecycle.isStopping,
    () => room.complain([]),
  )
  const workerSockets = new WorkerSockets(settings.data, ownWorkers)

  // Before the doors: where another Sluice serves this socket, the data folder is that one's. It closes after them.
  const control = await openControl(join(settings.data, 'control.sock'), plane(), log)
  lifecycle.add('control channel', (deadlineMs) => control.close(deadlineMs))
  lifecycle.add('enqueuer', () => enqueuer.close(), 2)

  const failures = createFailureTaker({ queues, owners: ownWorkers, rules, enqueue, room, onDropped, log, metrics })
  lifecycle.add('failures', (deadlineMs) => failures.close(deadlineMs), 2)
  lifecycle.add('traces', () => options.tracer.close())
  failures.start()
  lifecycle.add('ledger', () => ledger.close())
  void ledger.start()

  const limiter = new RateLimiter(settings.limits)
  const limits = {
    bytes: settings.limits.topicBytes,
    levels: settings.limits.topicLevels,
    payload: settings.limits.payload,
  }
  const acceptOptions: AcceptOptions = {
    access,
    rules,
    enqueue: (messages, set) => enqueuer.enqueueAll(messages, set),
    keepFailed: (message, rule, reason) => keeper.keep(deadLetterOfRuleFailure(message, rule, reason)),
    room,
    onDropped,
    limiter,
    limits,
    log,
    metrics,
  }
  const accept = (door: Door) => createAccept(door, acceptOptions)

  const announcer = createAnnouncer({
    accept: accept('sluice'),
    distribute: (publish) => doors?.distribute(publish),
    metrics,
  })
  // After the doors: the last that a stop has to say is who went.
  lifecycle.add('events', (deadlineMs) => announcer.close(deadlineMs))

  const closing: ((deadlineMs: number) => Promise<void>)[] = []
  // Doors close together: what one still has in hand is no reason for another to go on taking.
  lifecycle.add('doors', async (deadlineMs) => void (await Promise.all(closing.map((close) => close(deadlineMs)))), 12)
  doors = await openDoors(
    {
      settings,
      access: guarded,
      accept,
      acceptBatch: (door) => createAcceptBatch(door, acceptOptions),
      ready: async () => (await readiness()).ready,
      announce: announcer.announce,
      lifecycle,
      log,
      metrics,
      brokerPortTaken: options.brokerPortTaken,
    },
    closing,
  )
  if (lifecycle.isStopping) throw new Stopping()
  bridges = startBridges({
    bridges: settings.bridges,
    payloadLimit: settings.limits.payload,
    accept: accept('bridge'),
    keep: (letter) => keeper.keep(letter),
    store: queues.store,
    log,
    metrics,
    fail: options.fail,
  })
  closing.push((deadlineMs) => bridges?.close(deadlineMs) ?? Promise.resolve())
  isOpen = true

  running.onChange((config) => {
    const { identities, inForce } = support.next()
    const next = snapshotOf(config, identities, metrics)
    return async () => {
      const gone = goneFrom(snapshot.rules, next.rules)
      snapshot = next
      inForce()
      metrics.set('sluice_rules', {}, config.rules.length)
      const facts = { rules: config.rules.length, set: next.rules.hash, ...(gone.length > 0 && { gone }) }
      log.info(facts, 'rules and identities are in force')
      await Promise.all([failures.look(), doors?.recheck(), nameOrphans()])
    }
  })
  records.onChange(({ certificates, things, policies }) => {
    const concerned = (principal: Principal): boolean =>
      policies.length > 0 ||
      certificates.includes(principal.id ?? principal.name) ||
      (principal.thing !== undefined && things.includes(principal.thing))
    void doors?.recheck(concerned)
  })
  await nameOrphans()
  await sayWhatIsLeft(queues.store, running.current.workers, log)
  return { doors: doors.places, readiness }

  function plane(): ControlPlane {
    return {
      ready: readiness,
      status,
      ledger: () => ledger.report(),
      orphans: findOrphans,
      metrics: async () => ({ contentType: metrics.contentType, page: await metricsPage() }),
      reload: async () => ({ problems: await options.reload() }),
      trace: (id, waitMs) =>
        firstOrAll(waitMs, (signal) => [
          options.tracer.find(id, waitMs, signal),
          ...workerSockets.traces(id, waitMs, signal),
        ]),
      deadLetters: createDeadLetters({
        queues,
        workers: ownWorkers,
        rules,
        enqueue,
        room,
        onDropped,
        bridge: (owner) => bridges?.handIn(owner),
      }),
      policy: {
        simulate: async (asked) => {
          const known = { ...snapshot.config, records }
          if (asksVia(asked)) return simulateVia(known, readViaSimulation(asked))
          return simulate(known, readSimulation(asked))
        },
        effective: async (principal) => effectivePolicies({ ...snapshot.config, records }, principal),
      },
      certificates: createCertificatePlane({ records, registry: () => snapshot.access.registry }),
    }
  }

  async function status(): Promise<IngestStatus> {
    const states = new Map([...(await workerSockets.states()), ...options.workerStates()])
    const ready = await readiness()
    await ledger.settle()
    return {
      ...ready,
      queue: queues.describe,
      doors: doors?.places ?? [],
      bridges: bridges?.states() ?? [],
      rules: snapshot.rules.rules.length,
      ruleSet: snapshot.rules.hash,
      // What can't be counted now isn't shown as nothing.
      workers: await countAll(states).catch(() => []),
    }
  }

  /** What lies where nobody takes it: of workers without a file, and of those that have a queue of their own now. */
  async function findOrphans(): Promise<readonly Orphan[]> {
    // What has just been delivered is no longer there.
    await ledger.settle()
    return [
      ...(await orphansOf(queues, new Set(ownWorkers()))),
      ...(await leftBehind(queues.shared, queues.own.keys())),
    ]
  }

  async function countAll(states: WorkerStates): Promise<readonly WorkerStatus[]> {
    const names = new Set([...ownWorkers(), ...(await queues.owners())])
    return Promise.all([...names].toSorted().map((name) => countOne(name, stateOf(name, snapshot.config, states))))
  }

  /** A worker whose own queue is away is shown without figures; where the shared one is, there is nothing to show. */
  async function countOne(name: string, state: string): Promise<WorkerStatus> {
    const trouble = queues.troubleOf(name)
    const said = trouble === undefined ? state : `${state}; ${trouble}`
    try {
      return await countOwner(queues, name, said, room.backlogOf(name))
    } catch (error) {
      if (!queues.own.has(name)) throw error
      return { name, state: trouble === undefined ? `${state}; ${messageOf(error)}` : said }
    }
  }

  async function metricsPage(): Promise<string> {
    // Counted when somebody asks: on the embedded queue counting costs more than a look at a variable.
    for (const worker of ownWorkers()) {
      const counts = await queues.counts({ owner: worker, part: 'work' }).catch(() => undefined)
      for (const [state, value] of Object.entries(counts ?? {}))
        metrics.set('sluice_queue_entries', { worker, state }, value)
    }
    await setLedgerMetrics(ownWorkers()).catch((error: unknown) =>
      log.debug({ error: messageOf(error) }, 'the ledger could not be read'),
    )
    return metrics.page()
  }

  /** Where the queue is away, they are named when it is back. */
  async function nameOrphans(): Promise<void> {
    clearTimeout(naming)
    try {
      for (const { owner, messages, envelopes, left } of await findOrphans()) {
        log.warn(
          { worker: owner, messages, envelopes },
          left === true
            ? 'the queue that all share holds messages of a worker that has its own now; they wait until "queue" is taken out of its file'
            : 'a queue holds messages of a worker that no file in workers/ owns; they wait',
        )
      }
    } catch (error) {
      log.debug({ error: messageOf(error) }, 'the queues could not be looked at')
      if (!lifecycle.isStopping) naming = setTimeout(() => void nameOrphans(), orphansAgainMs).unref()
    }
  }
}

/** Names of rules that a reload has taken away, the first of them. */
function goneFrom(before: RuleSet, after: RuleSet): readonly string[] {
  const left = new Set(after.rules.map(({ name }) => name))
  return before.rules.flatMap(({ name }) => (left.has(name) ? [] : [name])).slice(0, 20)
}

function stateOf(name: string, { workers }: Config, states: WorkerStates): string {
  const { state, reason } = states.get(name) ?? {}
  if (state !== undefined) return reason === undefined ? state : `${state}: ${reason}`
  const kind = kindOfOwner(name)
  if (kind !== 'worker') return `a ${kind}`
  return workers.has(name) ? 'in another process' : 'no file owns it'
}
