import { type Clock, watchClock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Problem } from '../core/problem.ts'
import type { Redactor } from '../core/redactor.ts'
import { bootId } from '../observe/boot.ts'
import { createLog } from '../observe/log.ts'
import { createMetrics, type ServedMetrics } from '../observe/metrics.ts'
import type { SluiceSettings } from '../config/sluice-schema.ts'
import { Lifecycle, Stopping } from './lifecycle.ts'
import { Link } from './link.ts'
import { isSupervised } from './supervised.ts'

/** What every long-running process has: a log, metrics, and a way to stop in order. */
export interface Runtime {
  readonly log: Log
  /** This process' only one, watched for steps. */
  readonly clock: Clock
  readonly metrics: ServedMetrics
  readonly lifecycle: Lifecycle
  /** The supervisor, where this process has one: it decides when to reload. */
  readonly supervisor: Link | undefined
  /**
   * Runs `start`, and resolves with the exit code when a signal or `fail` has stopped everything. When `start` throws, what it
   * had started is stopped and the error thrown on.
   */
  readonly run: (start: () => Promise<void>) => Promise<number>
  /** Stops everything because the process can't go on. */
  readonly fail: (error: Error) => void
  /** What the supervisor gets when it asks for a reload. */
  readonly onReloadAsked: (reload: () => Promise<readonly Problem[]>) => void
  /** Called before the process ends at once because somebody asked twice. */
  readonly onImpatience: (act: () => void) => void
}

/** How long a process may linger after everything has stopped; then a forgotten timer or thread ends with it. */
const lingerMs = 1_000

export function createRuntime(settings: Pick<SluiceSettings, 'log' | 'shutdown'>, redactor: Redactor): Runtime {
  const isTerminal = process.stdout.isTTY
  const format = settings.log.format === 'auto' ? (isTerminal ? 'text' : 'json') : settings.log.format
  const log = createLog({ level: settings.log.level, format, redactor, colours: isTerminal })
  const lifecycle = new Lifecycle(log)
  const ended = Promise.withResolvers<number>()
  const reload = Promise.withResolvers<() => Promise<readonly Problem[]>>()
  let onImpatience = () => {}
  let signals = 0

  const stop = (code: number): void => {
    if (lifecycle.isStopping) return
    void lifecycle.stop(settings.shutdown).then(() => {
      log.info({}, 'stopped')
      ended.resolve(code)
    })
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      signals += 1
      // Somebody at a terminal who asks twice means now. What was acknowledged is durable either way.
      if (signals > 1 && signal === 'SIGINT') {
        onImpatience()
        process.exit(130)
      }
      if (signals > 1) return
      log.info({ signal, deadlineMs: settings.shutdown }, 'stopping: finishing what is in flight')
      stop(0)
    })
  }

  const supervisor = isSupervised()
    ? new Link(process, {
        reload: async () => (await reload.promise)(),
        gone() {
          log.warn({}, 'the supervisor is gone: stopping')
          stop(1)
        },
      })
    : undefined
  // Listening for the supervisor is no reason to stay alive.
  if (supervisor !== undefined) process.channel?.unref()

  return {
    log,
    clock: watchClock({ log, boot: bootId() }),
    metrics: createMetrics(),
    lifecycle,
    supervisor,
    async run(start) {
      try {
        await start()
      } catch (error) {
        if (!lifecycle.isStopping) {
          await lifecycle.stop(settings.shutdown)
          setTimeout(() => process.exit(1), lingerMs).unref()
          throw error
        }
        // A stop has overtaken the start, which then finds things closed under it.
        if (!(error instanceof Stopping)) log.warn({ error: messageOf(error) }, 'stopped while starting')
        await lifecycle.stop(0)
      }
      return ended.promise
    },
    fail(error) {
      log.error({ error: error.message }, 'cannot go on')
      supervisor?.sayCannotGoOn(error.message)
      stop(1)
    },
    onReloadAsked: (act) => reload.resolve(act),
    onImpatience: (act) => void (onImpatience = act),
  }
}
