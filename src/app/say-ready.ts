import type { Facts, Log } from '../core/log.ts'
import type { Lifecycle } from './lifecycle.ts'
import type { Readiness } from './readiness.ts'

const againMs = 1_000

interface Saying {
  readonly log: Log
  readonly lifecycle: Lifecycle
  readonly readiness: () => Promise<Readiness>
  /** Looked at when it is said: what the queue promises is known only then. */
  readonly facts: () => Facts
}

/** Says `ready` when it is, as /readyz has it; where that isn't at once, first that it has started and why it isn't ready. */
export function sayWhenReady({ log, lifecycle, readiness, facts }: Saying): void {
  let timer: NodeJS.Timeout | undefined
  let isSaid = false
  lifecycle.add('saying ready', () => clearTimeout(timer))
  void ask()

  async function ask(): Promise<void> {
    const { ready, because = 'unknown' } = await readiness()
    if (lifecycle.isStopping) return
    if (ready) return log.info(facts(), 'ready')
    if (!isSaid) log.warn({ because }, 'started, but not ready')
    isSaid = true
    timer = setTimeout(() => void ask(), againMs)
  }
}
