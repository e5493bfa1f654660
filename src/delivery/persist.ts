import { messageOf } from '../core/errors.ts'
import { type Failure, type FailureBatch, envelopeVersion } from '../core/envelope.ts'
import type { Log } from '../core/log.ts'
import type { Queues } from '../core/queue.ts'
import { tallyOf } from '../core/tally.ts'
import { backoffMs } from '../core/backoff.ts'
import { deadLetterId, idOf } from './ids.ts'
import { pause } from './pause.ts'

/**
 * Repeats something that must be written before work can go on, for as long as the queue is away. Throws what the last try
 * threw when `signal` aborts: the job then stays as it is stored, and a successor takes it up.
 */
export async function persist(work: () => Promise<void>, signal: AbortSignal, log: Log): Promise<void> {
  for (let round = 0; ; round += 1) {
    try {
      return await work()
    } catch (error) {
      if (signal.aborted) throw error
      if (round === 0) log.warn({ error: messageOf(error) }, 'the queue takes nothing now; waiting for it')
      await pause(backoffMs({ first: 200, max: 2_000 }, round), signal)
    }
  }
}

/**
 * Puts failures on the worker's own failures queue, from where ingest takes them. The id says which entries of which job in
 * which round they are, so that a successor that fails the same ones again adds nothing.
 */
export async function handOver(
  queues: Queues,
  worker: string,
  failures: readonly Failure[],
  origin: { readonly job: string; readonly round: number },
): Promise<void> {
  const id = idOf('f', [origin.job, origin.round, ...failures.map(deadLetterId)])
  const data: FailureBatch = { v: envelopeVersion, failures }
  const tally = tallyOf(
    failures.map(({ entry }) => entry),
    'given-up',
  )
  await queues.add({ owner: worker, part: 'failures' }, [{ id, data, entering: { tally } }])
}
