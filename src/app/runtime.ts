import { Redactor } from '../core/redactor.ts'
import type { Log } from '../core/log.ts'
import { createLog } from '../observe/log.ts'
import { createMetrics, type ServedMetrics } from '../observe/metrics.ts'
import type { SluiceSettings } from '../config/sluice-schema.ts'
import { Lifecycle } from './lifecycle.ts'

/** What every long-running process has: a log, metrics, and a way to stop in order. */
export interface Runtime {
  readonly log: Log
  readonly metrics: ServedMetrics
  readonly lifecycle: Lifecycle
  /** Resolves with the exit code when a signal or `fail` has stopped everything. */
  readonly ended: Promise<number>
  /** Stops everything because the process can't go on. */
  fail(error: Error): void
}

export function createRuntime(settings: Pick<SluiceSettings, 'log' | 'shutdown'>, redactor: Redactor): Runtime {
  const isTerminal = process.stdout.isTTY === true
  const format = settings.log.format === 'auto' ? (isTerminal ? 'text' : 'json') : settings.log.format
  const log = createLog({ level: settings.log.level, format, redactor, colours: isTerminal })
  const lifecycle = new Lifecycle(log)
  const ended = Promise.withResolvers<number>()
  let signals = 0

  const stop = (code: number): void => {
    void lifecycle.stop(settings.shutdown).then(() => {
      log.info({}, 'stopped')
      ended.resolve(code)
    })
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      signals += 1
      // Somebody at a terminal who asks twice means now. What was acknowledged is durable either way.
      if (signals > 1 && signal === 'SIGINT') process.exit(130)
      if (signals > 1) return
      log.info({ signal, deadlineMs: settings.shutdown }, 'stopping: finishing what is in flight')
      stop(0)
    })
  }
  return {
    log,
    metrics: createMetrics(),
    lifecycle,
    ended: ended.promise,
    fail(error) {
      log.error({ error: error.message }, 'cannot go on')
      stop(1)
    },
  }
}
