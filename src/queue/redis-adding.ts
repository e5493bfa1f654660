import type { Redis } from 'ioredis'
import { Job, type Queue } from 'bullmq'
import { messageOf, QueueAwayError } from '../core/errors.ts'
import type { QueueName } from '../core/queue.ts'
import type { NewJob } from './backend.ts'
import { jobOptions } from './job-options.ts'
import { isDenied, isReplyError, isScriptMissing } from './redis-error.ts'
import { enteringParameters, runScript } from './redis-ledger.ts'

/** What each command of a transaction answered: an error, or something. */
type Answers = readonly (readonly [Error | null, unknown])[]

/**
 * Adds jobs and enters them in the ledger in one transaction: all of it or nothing, whoever dies in between. (BullMQ makes
 * `addJobToTransaction` public for such ends.) Where this user may not write the ledger the jobs are added all the same, and true is
 * given: messages matter more than the books. Throws QueueAwayError where Redis itself said no.
 */
export async function addWithEntries(
  redis: Redis,
  queue: Queue,
  name: QueueName,
  jobs: readonly NewJob[],
): Promise<boolean> {
  let answers = await transact(queue, name, jobs)
  if (answers.some(([error]) => isScriptMissing(error))) {
    await sendScripts(redis, queue, name, jobs)
    answers = await transact(queue, name, jobs)
  }
  const errors = answers.map(([error]) => error)
  let place = 0
  let isAnyIn = false
  let isUnentered = false
  let first: Error | undefined
  for (const { entering } of jobs) {
    const added = errors[place++] ?? undefined
    const entered = entering === undefined ? undefined : (errors[place++] ?? undefined)
    isAnyIn ||= added === undefined
    isUnentered ||= isDenied(entered)
    first ??= added ?? (isDenied(entered) ? undefined : entered)
  }
  if (first !== undefined) throw refusedBy(first, isAnyIn)
  return isUnentered
}

async function transact(queue: Queue, name: QueueName, jobs: readonly NewJob[]): Promise<Answers> {
  const backend = queue.getBackend()
  const client = await backend.client
  const multi = client.multi()
  for (const { id, data, entering } of jobs) {
    const job = new Job(queue, 'job', data, jobOptions(id), id)
    await backend.addJobToTransaction(multi, job.asJSON(), id)
    if (entering !== undefined) multi.runCommand('sluiceEnter', [...enteringParameters(name, id, entering)])
  }
  const executed = multi.exec() as Promise<Answers | null>
  const answers = await executed.catch((error: unknown) => {
    // Of a transaction that it refused Redis has done nothing.
    throw isReplyError(error) ? refusedBy(error, false) : error
  })
  return answers ?? []
}

/**
 * ioredis names a script by its hash once it has sent it on a connection, and sends it anew where Redis doesn't know it (SCRIPT FLUSH;
 * the transaction that held it first was refused), but in a transaction it doesn't hear of that, and none would succeed any more. So
 * one job is added and entered outside of one.
 */
async function sendScripts(redis: Redis, queue: Queue, name: QueueName, jobs: readonly NewJob[]): Promise<void> {
  const job = jobs.find(({ entering }) => entering !== undefined) ?? jobs[0]
  if (job === undefined) return
  const { id, data, entering } = job
  await queue.add('job', data, jobOptions(id))
  if (entering === undefined) return
  await runScript(redis, 'sluiceEnter', enteringParameters(name, id, entering)).catch((error: unknown) => {
    // The transaction is told the same.
    if (!isReplyError(error)) throw error
  })
}

function refusedBy(error: unknown, inDoubt: boolean): QueueAwayError {
  return new QueueAwayError(`Redis: ${messageOf(error)}`, inDoubt, { cause: error })
}
